"""Snapshots of hand-made rows."""

from tests.snapshots.conftest import folder, snapshot_of, sqlite_database

__all__ = ["folder", "snapshot_of", "sqlite_database"]
