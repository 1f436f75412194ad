"""Three weeks of made-up history, for the pictures of notebooks that a demo of some minutes cannot fill."""

from __future__ import annotations

import math
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from teknav_ops.settings import Settings
from teknav_ops.snapshots.export import Exporter
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from teknav_ops.storage.tables import AiRun, Article, AuditLog

DAYS = 21
#: Queue, job, jobs in a busy hour, mean duration in ms.
LOAD = (
    ("media:optimize", "optimize-image", 90, 9_000), ("search:index", "index-article", 160, 40),
    ("email:send", "send-email", 400, 120), ("ai:seo", "generate-seo", 30, 6_000),
    ("webhooks:deliver", "deliver-webhook", 220, 350),
)  # fmt: skip
#: Which became slower, since when, and by how much.
SLOWED = ("webhooks:deliver", timedelta(hours=9), 1.7)
MODELS = (("gpt-5.1", 9_000, 1_200, 0.0), ("gpt-5.1-mini", 1_400, 700, 0.0), ("llama-4-70b", 600, 900, 0.05))
TITLES = (
    ("fa", "صف نامه‌های مرده چیست و چگونه خوانده می‌شود"), ("en", "How Redis keeps data when the power goes"),
    ("fa", "فونت فارسی در وب: چه باید بدانیم"), ("en", "Why the average hides slow jobs"),
    ("fa", "نیم‌فاصله و جست‌وجوی فارسی"), ("en", "AVIF, WebP or JPEG: choosing image formats for readers"),
)  # fmt: skip


def make(folder: Path) -> None:
    """Fill a data folder: AuditLog, AiRun, articles, and a snapshot of them."""
    settings = Settings(data_dir=folder)
    upgrade(settings.sql_url)
    database = Database.open(settings.sql_url)
    chance = random.Random(7)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with database.session() as session:
        for hour in range(DAYS * 24):
            _hour(session, end - timedelta(hours=DAYS * 24 - hour), end, chance)
        _articles(session)
        _ai_runs(session, end, chance)
    Exporter.from_settings(settings, database).export(wait_seconds=60)
    database.dispose()


def _hour(session: Session, at: datetime, end: datetime, chance: random.Random) -> None:
    # Quiet at night, and on Fridays.
    busy = (0.15 + 0.85 * max(0.0, math.sin((at.hour - 3) / 18 * math.pi))) * (0.4 if at.weekday() == 4 else 1.0)
    rows: list[dict[str, Any]] = []
    for queue, job, most, mean_ms in LOAD:
        for _ in range(round(most * busy * chance.uniform(0.8, 1.2))):
            begun = at + timedelta(seconds=chance.uniform(0, 3_590))
            is_slow = queue == SLOWED[0] and begun > end - SLOWED[1]
            rows += _job(queue, job, begun, mean_ms * SLOWED[2] if is_slow else mean_ms, chance)
    session.execute(insert(AuditLog), rows)


def _job(queue: str, job: str, begun: datetime, mean_ms: float, chance: random.Random) -> list[dict[str, Any]]:
    took_ms = chance.lognormvariate(math.log(mean_ms) - 0.2, 0.6)
    is_bad = chance.random() < 0.004
    common = {"queue": queue, "job_name": job, "job_id": str(uuid.UUID(int=chance.getrandbits(128)))}
    ended = {
        "action": "job.failed" if is_bad else "job.completed", "at": begun + timedelta(milliseconds=took_ms),
        "attempt": 1, "duration_ms": took_ms, "waited_ms": chance.uniform(1, 40), "actor": "sample:1",
        "error_type": "StepTimedOut" if is_bad else None, "fingerprint": "0f" * 6 if is_bad else None,
    }  # fmt: skip
    begin = dict.fromkeys(ended) | {"action": "job.enqueued", "at": begun, "actor": "sample"}
    return [common | begin, common | ended]


def _articles(session: Session) -> None:
    for number, (language, title) in enumerate(TITLES, start=1):
        session.add(
            Article(id=number, slug=f"sample-{number}", language=language, title=title, body="", author="sample")
        )


def _ai_runs(session: Session, end: datetime, chance: random.Random) -> None:
    rows = []
    for number in range(1_800):
        model, micro_usd, tokens, failing = chance.choices(MODELS, weights=(2, 5, 3))[0]
        at = end - timedelta(hours=chance.uniform(0, DAYS * 24))
        status = "failed" if chance.random() < 0.03 + failing else "succeeded"
        rows.append(
            {
                "job_id": str(uuid.UUID(int=chance.getrandbits(128))), "delivery": 1, "attempt": 1,
                "task": chance.choice(("generate-seo", "review-article", "generate-summary", "translate")),
                "article_id": 1 + number % len(TITLES), "provider": "openai" if "gpt" in model else "local",
                "model": model, "status": status, "call_count": 1, "input_tokens": round(tokens * chance.uniform(1, 4)),
                "output_tokens": round(tokens * chance.uniform(0.2, 1)), "reserved_tokens": 0,
                "cost_micro_usd": round(micro_usd * chance.uniform(0.5, 2)), "started_at": at,
                "finished_at": at + timedelta(seconds=chance.uniform(2, 20)), "trace_id": "",
            }
        )  # fmt: skip
    session.execute(insert(AiRun), rows)
