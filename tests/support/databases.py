"""Databases of both kinds: SQLite in a file, and a real PostgreSQL from its wheel. Each test has its own.

The tables are made once, by the product's own migrations, in a template; every other database is a copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from teknav_ops.storage.schema import upgrade
from tests.support import run_postgres
from tests.support.folders import new_folder, remove_folder


def stop() -> None:
    """End what this process has for its databases."""
    run_postgres.disconnect()
    if _sqlite_template.cache_info().currsize:
        remove_folder(_sqlite_template().parent)
        _sqlite_template.cache_clear()


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'records.sqlite3'}"
        return
    yield run_postgres.url(run_postgres.create("template1"))


@contextmanager
def migrated_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database with all tables."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'records.sqlite3'}"
        migrate(url)
        yield url
        return
    name = run_postgres.take()
    yield run_postgres.url(name)
    run_postgres.give_back(name)


def migrate(url: str) -> None:
    """Give a database all tables: a SQLite file that does not exist yet becomes a copy of the template."""
    path = Path(url.removeprefix("sqlite:///"))
    if url == str(path) or path.exists():
        upgrade(url)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_sqlite_template(), path)


@cache
def _sqlite_template() -> Path:
    path = new_folder() / "template.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path
