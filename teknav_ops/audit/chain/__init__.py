"""The chain over AuditLog: what was written can be shown to be unchanged, and what was deleted to be retention's."""
