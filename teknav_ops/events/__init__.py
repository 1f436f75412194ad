"""Events: the audit trail told live to whoever watches."""
