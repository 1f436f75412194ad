"""What an SRE asks while repairing: regressions, burn rates, capacity, what changed."""
