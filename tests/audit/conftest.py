"""Fixtures for tests of the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres_server import PostgresServer


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be killed and started again."""
    server = PostgresServer()
    yield server
    server.remove()
