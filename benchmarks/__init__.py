"""Benchmarks: the engine beside its peers, in one run on one server. Ratios count, not seconds."""
