"""A trail of every kind of row, sealed in several links."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from teknav_ops.audit.chain import sealer as sealer_module
from teknav_ops.audit.chain.database_source import DatabaseSource, source_of
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.verification import Verification
from teknav_ops.audit.chain.verify import verify
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import WrongState
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

KEYS = LinkKeys([b"k" * 32])
NOON = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
BLOCK = 10

Check = Callable[..., Verification]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer_module, "BLOCK_ROWS", BLOCK)


@pytest.fixture
def sealer(database: Database) -> AuditSealer:
    return AuditSealer(database, KEYS, every_seconds=0)


@pytest.fixture
def check(database: Database) -> Check:
    """Verify the database, or what a session sees of it before it is committed."""

    def run(session: Session | None = None, **options: Any) -> Verification:
        if session is not None:
            return verify(DatabaseSource(session), KEYS, **options)
        with source_of(database) as source:
            return verify(source, options.pop("keys", KEYS), **options)

    return run


def seal_all(sealer: AuditSealer) -> None:
    while sealer.step():
        pass


def put(database: Database, count: int, *, first: int = 0, **facts: Any) -> None:
    always = {
        "action": "job.failed", "actor": "host:1", "queue": "email:send", "job_name": "نام",
        "attempt": 1, "delivery": 2, "error_type": "Timeout", "fingerprint": "f" * 16, "trace_id": "a" * 32,
        "detail": {"text": 'a "quoted"\tline\nand \\ another'},
    }  # fmt: skip
    rows = [
        {
            **always,
            "at": NOON + timedelta(milliseconds=number),
            "stream_id": f"{number}-0",
            "job_id": f"job-{number}",
            "duration_ms": number * 0.1,
            **facts,
        }
        for number in range(first, first + count)
    ]
    with database.session() as session:
        session.execute(insert(AuditLog), rows)


def fill(database: Database, sealer: AuditSealer) -> None:
    """35 rows: jobs' and operators', one that ended after it was sealed, one that never ended, one refused."""
    put(database, 14)
    log = OperatorLog(database)
    with log.record("dlq.purged", actor="sara", queue="email:send") as action:
        seal_all(sealer)
        action.note(deleted=3)
    log._begin({"action": "queue.paused", "actor": "sara", "queue": "email:send"}, {"reason": "نگهداری"})
    with suppress(WrongState), log.record("job.retried", actor="sara"):
        raise WrongState("no")
    put(database, 18, first=100)
    seal_all(sealer)
