"""Numbers about queues: live, per minute, aggregated, and as a time series."""
