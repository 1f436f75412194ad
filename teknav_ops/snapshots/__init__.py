"""DuckDB snapshots of the audit trail: exact history for charts and questions."""
