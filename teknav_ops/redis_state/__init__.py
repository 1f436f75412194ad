"""What Redis holds: key names, connections, and one script per state change of a job."""
