"""Records in SQL: SQLite embedded, PostgreSQL in production."""
