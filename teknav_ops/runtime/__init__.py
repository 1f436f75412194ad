"""Processes: the embedded server, the scheduler, and the supervisor behind `teknav up`."""
