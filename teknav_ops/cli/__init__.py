"""The command line: `teknav …`, a handle on the producer, the queries and `control.py`."""
