"""The audit trail: from the queues' streams into SQL, and what operators did."""
