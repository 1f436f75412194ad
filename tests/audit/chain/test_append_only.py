"""The tables themselves refuse what would rewrite the trail, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.storage.database import Database
from tests.audit.chain.conftest import Check, put, seal_all

COLUMNS = ("action", "actor", "queue", "stream_id", "job_id", "job_name", "error_type", "fingerprint", "trace_id",
           "outcome")  # fmt: skip
NUMBERS = ("id", "attempt", "delivery", "duration_ms", "waited_ms")


def refuses(database: Database, statement: str) -> bool:
    try:
        with database.session() as session:
            session.execute(text(statement))
    except DBAPIError as error:
        return "append-only" in str(error.orig)
    except Exception as error:  # SQLite's own kind of refusal is an outage's to the session
        return "append-only" in str(error)
    return False


@pytest.mark.each_database
def test_no_column_of_a_row_is_changed_and_no_row_is_deleted(
    database: Database, sealer: AuditSealer, check: Check
) -> None:
    put(database, 12)
    seal_all(sealer)

    changes = [f"{name} = 'x'" for name in COLUMNS] + [f"{name} = 77" for name in NUMBERS]
    changes += ["detail = null", "at = '2020-01-01 00:00:00+00'"]
    for change in changes:
        assert refuses(database, f"update audit_log set {change} where id = 3"), change
    assert refuses(database, "delete from audit_log where id = 3")
    assert refuses(database, "delete from audit_seal where number = 1")
    for change in ("hash = 'x'", "facts = 'x'", "last_id = 5", "signature = 'x'"):
        assert refuses(database, f"update audit_seal set {change} where number = 1"), change
    if database.is_sqlite:
        assert refuses(database, "insert or replace into audit_log (id, at, action) values (3, '2020-01-01', 'x')")
    else:
        assert refuses(database, "truncate audit_log")
        assert refuses(database, "truncate audit_seal")
    assert check().is_intact


@pytest.mark.each_database
def test_an_action_ends_once_and_with_nothing_else_changed(
    database: Database, sealer: AuditSealer, check: Check
) -> None:
    log = OperatorLog(database)
    with log.record("queue.paused", actor="sara"):
        assert refuses(database, "update audit_log set outcome = 'done', actor = 'mina'")
        assert refuses(database, "update audit_log set outcome = 'requested', detail = null")
        assert refuses(database, "update audit_log set outcome = null")

    assert refuses(database, "update audit_log set outcome = 'failed'")
    assert refuses(database, "update audit_log set outcome = 'requested'")
    seal_all(sealer)
    assert check().row_count == 1
