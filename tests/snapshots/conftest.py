"""Databases to export from, and snapshots of hand-made rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.open import Snapshot, open_snapshot
from teknav_ops.storage.database import Database
from tests.snapshots.rows import store, store_ai
from tests.support.databases import migrate

SnapshotOf = Callable[..., Snapshot]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@contextmanager
def database_in(folder: Path) -> Iterator[Database]:
    url = f"sqlite:///{folder / 'records.sqlite3'}"
    migrate(url)
    database = Database.open(url)
    yield database
    database.dispose()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    with database_in(tmp_path) as database:
        yield database


@contextmanager
def snapshots_of(database: Database, folder: Path) -> Iterator[SnapshotOf]:
    """Rows, stored in SQL, exported, and opened; closed at the end."""
    opened: list[Snapshot] = []

    def make(rows: Iterable[dict[str, Any]] = (), ai_rows: Iterable[dict[str, Any]] = ()) -> Snapshot:
        store(database, rows)
        ai_rows = list(ai_rows)
        if ai_rows:
            store_ai(database, ai_rows)
        Exporter(database, folder).export()
        opened.append(open_snapshot(folder))
        return opened[-1]

    yield make
    for snapshot in opened:
        snapshot.close()


@pytest.fixture
def snapshot_of(sqlite_database: Database, folder: Path) -> Iterator[SnapshotOf]:
    """Snapshots of the rows that a test gives: each holds those before it, too."""
    with snapshots_of(sqlite_database, folder) as make:
        yield make
