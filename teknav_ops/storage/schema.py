"""The schema's version: bring a database up to date, or say where it stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from teknav_ops.errors import StorageUnavailable
from teknav_ops.storage.database import open_engine

#: Any number, the same for all that migrate: PostgreSQL lets one of them in at a time.
_MIGRATION_LOCK = 7_220_441


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The newest revision this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current_revision(url: str) -> str | None:
    """The database's revision; None before the first migration. Raises StorageUnavailable."""
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str) -> None:
    """Bring the database to the newest revision. Two at once are harmless: one waits for the other.

    Raises:
        StorageUnavailable: the database could not be reached.
    """
    with _connected(url) as connection:
        # One transaction for all migrations. SQLite lets one writer in; between two transactions another could begin.
        connection.begin()
        if connection.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    except OperationalError as error:
        raise StorageUnavailable(f"the database did not answer: {error.orig}") from error
    finally:
        engine.dispose()
