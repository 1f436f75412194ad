"""Numbers about queues: the duration sketch, and what is counted."""
