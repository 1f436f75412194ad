"""The books of AI runs: what may be spent, what was, and what happened in each run.

Money is in millionths of a US dollar. Before a call the most it may take is reserved, under a lock, so
that workers who ask at once cannot overdraw together; after it, the true figures replace the reservation.
Where a worker dies in between, or the answer does not arrive, the reservation stays: nobody knows what the
provider has counted.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from teknav_ops.errors import PermanentError, Throttled
from teknav_ops.payloads.redaction import error_text
from teknav_ops.platform.ai_spending import midnight, spent, spent_on_day_of
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import AiEventLog, AiRun
from teknav_ops.storage.tables.base import utc_now

_RESERVATION_LOCK: Final = 7_220_442
#: Bytes of UTF-8 per token are three or more in English and Persian alike: an upper bound of the tokens.
BYTES_PER_TOKEN: Final = 3
#: No tokenizer packs more into a token, on the average of a text.
_MOST_BYTES_PER_TOKEN: Final = 20
_DETAIL_LIMIT_CHARACTERS: Final = 2_000


class AiJobOverBudget(PermanentError):
    """This job could cost more than one job may (TEKNAV_AI_JOB_USD_LIMIT, TEKNAV_AI_JOB_TOKEN_LIMIT)."""


class AiDailyBudgetSpent(Throttled):
    """The day's budget does not cover this call; the job waits for the next day (UTC)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much one job, and all jobs of a UTC day, may take."""

    job_micro_usd: int
    daily_micro_usd: int
    job_tokens: int
    daily_tokens: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits of these settings."""
        return cls(
            int(settings.ai_job_usd_limit * 1e6), int(settings.ai_daily_usd_limit * 1e6),
            settings.ai_job_token_limit, settings.ai_daily_token_limit,
        )  # fmt: skip


class AiLedger:
    """Reads and writes AiRun and AiEventLog."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def begin(self, **facts: Any) -> int:
        """The row of this attempt; the same one when the same delivery begins again. Runs before it are over."""
        with self._database.session() as session:
            before = (AiRun.job_id == facts["job_id"], AiRun.delivery < facts["delivery"], AiRun.status == "running")
            lost = update(AiRun).where(*before).values(status="lost", finished_at=utc_now()).returning(AiRun.id)
            session.add_all([AiEventLog(run_id=run_id, kind="lost") for run_id in session.scalars(lost)])
            new = insert_into(session, AiRun).values(
                status="running", call_count=0, input_tokens=0, output_tokens=0, reserved_tokens=0,
                started_at=utc_now(), **facts,
            )  # fmt: skip
            session.execute(new.on_conflict_do_nothing())
            found = select(AiRun.id).where(AiRun.job_id == facts["job_id"], AiRun.delivery == facts["delivery"])
            return session.scalars(found).one()

    def reserve(self, run_id: int, job_id: str, *, tokens: int, micro_usd: int | None) -> None:
        """Set aside the most that the next call may take.

        Raises:
            AiJobOverBudget, AiDailyBudgetSpent: nothing was set aside, and the call must not be made.
        """
        with self._database.session() as session:
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _RESERVATION_LOCK})
            cost = micro_usd or 0
            job = spent(session, AiRun.job_id == job_id)
            if job.tokens + tokens > self._limits.job_tokens:
                raise AiJobOverBudget(f"{job.tokens + tokens:,} tokens; one job may take {self._limits.job_tokens:,}")
            if job.micro_usd + cost > self._limits.job_micro_usd:
                limit_usd = self._limits.job_micro_usd / 1e6
                raise AiJobOverBudget(f"${(job.micro_usd + cost) / 1e6:.4f}; limit ${limit_usd:.4f}")
            self._check_day(session, tokens, cost)
            session.execute(
                update(AiRun).where(AiRun.id == run_id).values(reserved_tokens=tokens, reserved_micro_usd=micro_usd)
            )

    def _check_day(self, session: Session, tokens: int, cost: int) -> None:
        now = datetime.now(UTC)
        day = spent_on_day_of(session, now)
        over_tokens = day.tokens + tokens > self._limits.daily_tokens
        if over_tokens or day.micro_usd + cost > self._limits.daily_micro_usd:
            pause_seconds = (midnight(now) + timedelta(days=1) - now).total_seconds()
            words = f"{day.tokens:,} tokens" if over_tokens else f"${day.micro_usd / 1e6:.4f}"
            raise AiDailyBudgetSpent(f"{words} spent today", retry_after_seconds=pause_seconds)

    def settle(self, run_id: int, *, input_tokens: int, output_tokens: int, micro_usd: int | None) -> None:
        """Replace the reservation by what the call took."""
        with self._database.session() as session:
            run = session.get_one(AiRun, run_id, with_for_update=True)
            run.call_count += 1
            run.input_tokens += input_tokens
            run.output_tokens += output_tokens
            run.cost_micro_usd = None if micro_usd is None else (run.cost_micro_usd or 0) + micro_usd
            run.reserved_tokens, run.reserved_micro_usd = 0, None

    def leave_set_aside(self, run_id: int) -> None:
        """A call has failed and nobody knows what it took: the reservation stands."""
        with self._database.session() as session:
            session.execute(update(AiRun).where(AiRun.id == run_id).values(call_count=AiRun.call_count + 1))

    def note(self, run_id: int, kind: str, *, detail: str | None = None, **facts: Any) -> None:
        """Write an event of the run."""
        short = detail[:_DETAIL_LIMIT_CHARACTERS] if detail else None
        with self._database.session() as session:
            session.add(AiEventLog(run_id=run_id, kind=kind, detail=short, **facts))

    def end(self, run_id: int, *, status: str, error: BaseException | None, duration_ms: float) -> None:
        """Say how the run ended, unless that has been said."""
        with self._database.session() as session:
            end_in(session, run_id, status=status, error=error, duration_ms=duration_ms)


def end_in(session: Session, run_id: int, *, status: str, error: BaseException | None, duration_ms: float) -> None:
    """Say how the run ended, in the transaction of its effect; its last entry in AiEventLog says it too."""
    words = error_text(error, _DETAIL_LIMIT_CHARACTERS) if error else None
    error_type = type(error).__name__ if error else None
    ended = session.execute(
        update(AiRun)
        .where(AiRun.id == run_id, AiRun.status == "running")
        .values(
            status=status, finished_at=utc_now(), duration_ms=round(duration_ms, 1),
            error_type=error_type, error=words,
        )
        .returning(AiRun.id)
    )  # fmt: skip
    if ended.first() is not None:
        detail = f"{error_type}: {words}" if error else None
        session.add(AiEventLog(run_id=run_id, kind=status, detail=detail, duration_ms=round(duration_ms, 1)))


def counted(told: Any, size_bytes: int, most: int) -> int:
    """The tokens of a text of this size: as told, if that is a whole number that can be true, else counted here."""
    least = size_bytes // _MOST_BYTES_PER_TOKEN
    if isinstance(told, int) and not isinstance(told, bool) and max(least, size_bytes > 0) <= told <= most:
        return told
    return min(size_bytes // BYTES_PER_TOKEN + 1, most) if size_bytes else 0
