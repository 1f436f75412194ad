"""The Dramatiq broker in which each state change of a job is one Lua script."""
