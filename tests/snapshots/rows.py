"""Rows of AuditLog for snapshot tests."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import insert

from teknav_ops.snapshots.open import open_snapshot
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AiRun, AuditLog

NOON = datetime(2024, 11, 20, 12, 0, tzinfo=UTC)


def after(**span: float) -> datetime:
    """So long after the tests' noon."""
    return NOON + timedelta(**span)


def run(
    at: datetime, duration_ms: float | None, *, action: str = "job.completed", queue: str = "mail", **facts: Any
) -> dict[str, Any]:
    """A run that ended."""
    return {
        "at": at, "action": action, "queue": queue, "job_name": "send", "job_id": str(uuid.uuid4()), "actor": "w:1",
        "attempt": 1, "duration_ms": duration_ms, "waited_ms": 10.0, "trace_id": uuid.uuid4().hex, **facts,
    }  # fmt: skip


def failure(
    at: datetime, error_type: str = "ValueError", *, action: str = "job.failed", **facts: Any
) -> dict[str, Any]:
    """A run that failed."""
    found = {"error_type": error_type, "fingerprint": f"f-{error_type}", "detail": {"text": f"{error_type} happened"}}
    return run(at, facts.pop("duration_ms", 5.0), action=action, **{**found, **facts})


def event(at: datetime, action: str, *, queue: str | None = "mail", **facts: Any) -> dict[str, Any]:
    """Anything else."""
    return {"at": at, "action": action, "queue": queue, **facts}


def ai_run(at: datetime, **facts: Any) -> dict[str, Any]:
    """A finished AI run."""
    return {
        "job_id": str(uuid.uuid4()), "delivery": 1, "attempt": 1, "task": "seo", "article_id": 1, "provider": "openai",
        "model": "small", "status": "succeeded", "call_count": 1, "input_tokens": 100, "output_tokens": 10,
        "cost_micro_usd": 500, "trace_id": uuid.uuid4().hex, "started_at": at, "finished_at": at, **facts,
    }  # fmt: skip


def texts(count: int) -> list[dict[str, Any]]:
    """Failures whose texts nobody can compress: in a snapshot of 2,000 they have a block of their own."""
    chance = random.Random(count)
    signs = [chr(number) for number in range(0x4E00, 0x4E00 + 4_096)]
    return [failure(NOON, detail={"text": "".join(chance.choices(signs, k=150))}) for _ in range(count)]


def damage_column(file: Path, column: str) -> None:
    """Flip a bit of a block that holds nothing but values of this column of `audit`; the file keeps its time."""
    with duckdb.connect(str(file), read_only=True) as connection:
        block = connection.execute(
            "select block_id from pragma_storage_info('audit') where block_id >= 0 group by block_id "
            "having bool_and(column_name = $1) order by min(segment_id)",
            [column],
        ).fetchone()
    assert block is not None
    written, content = file.stat(), bytearray(file.read_bytes())
    content[12_288 + block[0] * 262_144 + 1_000] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))


def store(database: Database, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows of AuditLog, each with whatever columns it has."""
    names = [column.name for column in AuditLog.__table__.columns if column.name != "id"]
    filled = [{name: row.get(name) for name in names} for row in rows]
    if filled:
        with database.session() as session:
            session.execute(insert(AuditLog), filled)


def store_ai(database: Database, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows of AiRun."""
    with database.session() as session:
        session.execute(insert(AiRun), list(rows))


def rows_in(folder: Path, sql: str = "select id, action from audit order by id") -> list[Any]:
    """What the newest snapshot answers; its own count of rows is right."""
    with open_snapshot(folder) as snapshot:
        assert snapshot.meta.row_count == snapshot.cursor().execute("select count(*) from audit").fetchone()[0]
        return snapshot.cursor().execute(sql).fetchall()
