"""What is taken from which table of SQL into which table of a snapshot, and how it is read.

Nothing is null on the way: drivers guess a column's type from its first rows, and a guess made from nulls is wrong
later. Texts are '' and numbers -1 instead, and become null again on arrival.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Float, Select, Table, Text, case, cast, func, literal, or_, select

from teknav_ops.payloads.redaction import leaving
from teknav_ops.snapshots.extra import pyarrow as pa
from teknav_ops.storage.tables import AiRun, AuditLog

ERROR_LENGTH: Final = 200
#: Actions whose detail is an error's message.
FAILURES: Final = ("job.retried", "job.failed", "job.snoozed", "dlq.added")
#: What may leave the database of an operator's detail. Addresses, payloads and comments stay there.
PUBLIC_DETAIL: Final = frozenset(
    [
        "aggregateAt",
        "changed",
        "closed",
        "concurrency",
        "deleted",
        "edited",
        "endpoint",
        "entry",
        "error",
        "global_concurrency",
        "overlap_seconds",
        "plugin",
        "rate_count",
        "rate_period_ms",
        "reason",
        "replay",
        "replayed",
        "role",
        "roles",
        "rule",
        "run",
        "sha256",
        "skipped",
        "state",
        "stats",
        "step",
        "text",
        "user",
        "version",
        "workflow",
    ]
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One table's way. `open_rows` is the condition, inside a snapshot, for rows that may still change in SQL."""

    target: str
    watermark: str
    row_count: str
    time_column: str
    open_rows: str
    table: Table
    schema: pa.Schema


_TEXT, _INTEGER, _REAL = pa.string(), pa.int64(), pa.float64()

AUDIT: Final = Feed(
    target="audit",
    watermark="watermark",
    row_count="row_count",
    time_column="occurred_at",
    open_rows="outcome = 'requested'",
    table=AuditLog.__table__,  # type: ignore[arg-type]
    schema=pa.schema(
        {
            "id": _INTEGER, "occurred_us": _INTEGER, "action": _TEXT, "queue": _TEXT, "job_name": _TEXT,
            "job_id": _TEXT, "attempt": _INTEGER, "duration_ms": _REAL, "waited_ms": _REAL, "error_type": _TEXT,
            "fingerprint": _TEXT, "error": _TEXT, "trace_id": _TEXT, "actor": _TEXT, "outcome": _TEXT, "detail": _TEXT,
        }
    ),
)  # fmt: skip

AI_RUNS: Final = Feed(
    target="ai_run",
    watermark="ai_watermark",
    row_count="ai_row_count",
    time_column="started_at",
    open_rows="status = 'running'",
    table=AiRun.__table__,  # type: ignore[arg-type]
    schema=pa.schema(
        {
            "id": _INTEGER, "occurred_us": _INTEGER, "finished_us": _INTEGER, "job_id": _TEXT, "attempt": _INTEGER,
            "task": _TEXT, "article_id": _INTEGER, "provider": _TEXT, "model": _TEXT, "status": _TEXT,
            "call_count": _INTEGER, "input_tokens": _INTEGER, "output_tokens": _INTEGER, "cost_micro_usd": _INTEGER,
            "duration_ms": _REAL, "error_type": _TEXT, "trace_id": _TEXT,
        }
    ),
)  # fmt: skip

FEEDS: Final = (AUDIT, AI_RUNS)


def source_time(feed: Feed) -> ColumnElement[Any]:
    """The column of SQL that says when a row's thing happened."""
    return feed.table.c["at" if feed is AUDIT else "started_at"]


def rows_of(feed: Feed, *, is_sqlite: bool) -> Select[Any]:
    """All rows in a snapshot's columns; add the condition."""
    given = _audit_columns(is_sqlite) if feed is AUDIT else _ai_columns(is_sqlite)
    columns = feed.table.c
    found = [
        given[name] if name in given else _filled(columns[name], kind).label(name)
        for name, kind in zip(feed.schema.names, feed.schema.types, strict=True)
    ]
    return select(*found)


def without_secrets(table: pa.Table) -> pa.Table:
    """The same rows, with of each detail what may leave the database: a failure's message or some of the facts."""
    if "detail" not in table.column_names:
        return table
    pairs = [
        _split(action, text) if text else ("", "")
        for action, text in zip(table["action"].to_pylist(), table["detail"].to_pylist(), strict=True)
    ]
    for number, name in enumerate(("error", "detail")):
        values = pa.array([pair[number] for pair in pairs], _TEXT)
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def _split(action: str, text: str) -> tuple[str, str]:
    """A row's error and detail. One row that cannot be read must not hold up all that follow."""
    try:
        detail = json.loads(text)
    except ValueError:
        return "", ""
    if not isinstance(detail, dict):
        return "", ""
    if action in FAILURES:
        return _shortened(detail.get("text")), ""
    kept = {name: value for name, value in detail.items() if name in PUBLIC_DETAIL}
    if "error" in kept:
        kept["error"] = _shortened(kept["error"])
    kept |= {name: leaving(kept[name]) for name in ("reason", "text") if isinstance(kept.get(name), str)}
    return "", json.dumps(kept)


def _shortened(message: Any) -> str:
    """The beginning of an error's message, without what cannot be stored as text."""
    # Masked before it is cut: half an address is one too.
    text = leaving(str(message or ""))[:ERROR_LENGTH].replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8")


def _audit_columns(is_sqlite: bool) -> dict[str, ColumnElement[Any]]:
    # A job.replayed's detail holds an old payload, so actions of jobs give none but their failures' messages.
    has_detail = or_(
        AuditLog.outcome.is_not(None), AuditLog.action.in_(FAILURES), func.substr(AuditLog.action, 1, 6) == "queue."
    )
    has_trace = or_(AuditLog.action == "job.enqueued", AuditLog.error_type.is_not(None))
    found = {
        "occurred_us": _microseconds(AuditLog.at, is_sqlite),
        "error": literal(""),
        "trace_id": func.coalesce(case((has_trace, AuditLog.trace_id)), ""),
        # As text: asking PostgreSQL for a field fails on a message with a null character.
        "detail": func.coalesce(case((has_detail, cast(AuditLog.detail, Text))), ""),
    }
    return {name: column.label(name) for name, column in found.items()}


def _ai_columns(is_sqlite: bool) -> dict[str, ColumnElement[Any]]:
    return {
        "occurred_us": _microseconds(AiRun.started_at, is_sqlite).label("occurred_us"),
        "finished_us": func.coalesce(_microseconds(AiRun.finished_at, is_sqlite), -1).label("finished_us"),
    }


def _filled(column: ColumnElement[Any], kind: pa.DataType) -> ColumnElement[Any]:
    if kind == _TEXT:
        return func.coalesce(column, "")
    # A real column whose first rows are all whole numbers must not be taken for integers.
    return cast(func.coalesce(column, -1.0), Float) if kind == _REAL else func.coalesce(column, -1)


def _microseconds(column: Any, is_sqlite: bool) -> ColumnElement[Any]:
    """Since the epoch. No text: how that looks is up to a session's settings on PostgreSQL."""
    if is_sqlite:
        # Without the fraction: SQLite would round it, to the next second too.
        seconds = func.strftime("%s", func.substr(column, 1, 19, type_=Text), type_=Text)
        whole = cast(seconds, BigInteger) * 1_000_000
        return whole + cast(func.substr(column, 21, 6, type_=Text), BigInteger)
    return cast(func.extract("epoch", column) * 1_000_000, BigInteger)
