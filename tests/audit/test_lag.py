"""How far AuditLog is behind."""

from __future__ import annotations

import pytest
import redis

from teknav_ops.audit.lag import AuditLag, audit_lag
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.storage.database import Database
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY


def test_every_queue_is_told_and_what_is_in_auditlog_no_longer_counts(client: redis.Redis, database: Database) -> None:
    state = State(client)
    seconds, _ = client.time()
    client.xadd(KEYS.audit, {"action": "job.enqueued"}, id=f"{(seconds - 60) * 1000}-0")
    state.enqueue()

    lag = audit_lag(client, TOPOLOGY)  # type: ignore[arg-type]

    assert lag["test:work"].entry_count == 2
    assert lag["test:work"].oldest_age_ms >= 60_000
    assert lag["test:other"] == AuditLag(0, 0)

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]
    assert audit_lag(client, TOPOLOGY)["test:work"] == AuditLag(0, 0)  # type: ignore[arg-type]


def test_a_queue_that_cannot_be_read_is_an_error_not_a_zero(client: redis.Redis) -> None:
    client.set(KEYS.audit, "not a stream")

    with pytest.raises(redis.exceptions.ResponseError):
        audit_lag(client, TOPOLOGY)  # type: ignore[arg-type]
