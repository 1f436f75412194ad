"""Silences: checked, recorded with who and why, and ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.access.tokens import Tokens
from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.alerts.silences import Silences
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest, NotAllowed, UnknownQueue, WrongState
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.databases import migrated_url
from tests.support.topology import TOPOLOGY

HOUR = timedelta(hours=1)


def silences(database: Database, role: Role = Role.OWNER) -> Silences:
    return Silences(Operator("sara", role), OperatorLog(database), {"waiting"}, TOPOLOGY)


@pytest.mark.each_database
def test_who_silenced_what_and_why_is_listed_and_in_the_audit_log(database: Database) -> None:
    until = silences(database).silence("waiting", "test:work", span=HOUR, reason="migration")

    (listed,) = AlertQueries(database).silences()
    assert (listed.rule, listed.queue, listed.until, listed.created_by) == ("waiting", "test:work", until, "sara")
    silences(database).end("waiting", "test:work")
    assert AlertQueries(database).silences() == []
    with database.reading() as session:
        rows = session.execute(select(AuditLog.action, AuditLog.outcome, AuditLog.detail).order_by(AuditLog.id)).all()
    assert [(action, outcome) for action, outcome, _ in rows] == [
        ("alert.silenced", "done"),
        ("alert.unsilenced", "done"),
    ]
    assert rows[0].detail["reason"] == "migration"


class _Slow(datetime):
    """The clock of a machine that is an hour behind."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return super().now(tz) - HOUR


def test_silences_and_tokens_go_by_the_databases_clock_and_not_by_the_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    span, owner = timedelta(minutes=30), Operator("sara", Role.OWNER)
    with migrated_url("postgresql", tmp_path) as url:
        database = Database.open(url)
        with monkeypatch.context() as on_that_machine:
            on_that_machine.setattr("teknav_ops.storage.tables.base.datetime", _Slow)
            silences(database).silence("waiting", None, span=span, reason="migration")
            _, token = Tokens(OperatorLog(database)).create(
                owner, "ci", role=Role.VIEWER, scopes=[Operation.READ], life=timedelta(days=1)
            )
            assert len(AlertQueries(database).silences()) == 1

        (listed,) = AlertQueries(database).silences()
        assert timedelta(minutes=29) < listed.until - datetime.now(UTC) <= span
        assert token.expires_at and token.expires_at - datetime.now(UTC) > timedelta(hours=23, minutes=59)
        silences(database).end("waiting", None)
        database.engine.dispose()


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({"rule": "x"}, InvalidRequest, "rule: no 'x'; there are waiting"),
        ({"queue": "x"}, UnknownQueue, "no 'x'"),
        ({"span": timedelta(0)}, InvalidRequest, "for: "),
        ({"span": timedelta(days=31)}, InvalidRequest, "at most 30 days"),
        ({"reason": " "}, InvalidRequest, "reason: say why"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    facts: dict[str, object], error: type[Exception], words: str, database: Database
) -> None:
    asked = {"rule": "waiting", "queue": None, "span": HOUR, "reason": "r", **facts}
    rule, queue = asked.pop("rule"), asked.pop("queue")

    with pytest.raises(error, match=words):
        silences(database).silence(rule, queue, **asked)  # type: ignore[arg-type]

    assert AlertQueries(database).silences() == []


def test_only_an_owner_may_silence(database: Database) -> None:
    with pytest.raises(NotAllowed):
        silences(database, Role.VIEWER).silence("waiting", None, span=HOUR, reason="r")
    with pytest.raises(WrongState, match="not silenced on all queues"):
        silences(database).end("waiting", None)
