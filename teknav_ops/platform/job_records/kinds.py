"""What the record of each kind of work says of a job that stands so: the rules, a table each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import insert, literal, select
from sqlalchemy.orm import Session

from teknav_ops.jobs.states import JobState
from teknav_ops.platform.job_records.job_now import JobNow
from teknav_ops.platform.job_records.kind import Facts, Kind
from teknav_ops.platform.job_records.workflows import cancel_children, workflow_facts
from teknav_ops.storage.tables import AiEventLog, AiRun, EmailQueue, File, OtpLog, WorkflowRun
from teknav_ops.storage.tables.ai import UNFINISHED_RUNS
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.storage.tables.files import UNFINISHED_FILES
from teknav_ops.storage.tables.mail import UNFINISHED_MAIL
from teknav_ops.storage.tables.otp import UNFINISHED_CODES
from teknav_ops.storage.tables.workflows import UNFINISHED_WORKFLOWS

#: How the error of a row ends whose last try was cut off as it sent.
DOUBT: Final = "whether it went out is not known"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The statuses of a table that keeps one row per job.

    `kept` are never changed from here. `failed` are those of a job that was given up: the first where the row does
    not say one of them already, unless the error has a word of its own.
    """

    waiting: str
    delayed: str
    completed: str
    kept: frozenset[str]
    failed: tuple[str, ...] = ("failed",)
    of_errors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The status of a row whose last run may have had its effect, should it have been cut off.
    in_doubt: str = ""

    def of(self, status: str, now: JobNow) -> str | None:
        """The status of a row whose job stands so; None where whoever runs the job writes it."""
        if status in self.kept or now.state is JobState.ACTIVE:
            return None
        if now.state is JobState.FAILED or now.state is None:
            return status if status in self.failed else self.of_errors.get(now.error_type, self.failed[0])
        return {
            JobState.WAITING: self.waiting,
            JobState.DELAYED: self.delayed,
            JobState.COMPLETED: self.completed,
            JobState.CANCELLED: "cancelled",
        }[now.state]

    def facts_of(self, row: Any, now: JobNow) -> Facts | None:
        """Status and error of such a row; None for what it says."""
        status = self.of(row.status, now)
        if status is None or status == row.status:
            return None
        is_cut_off = row.status == self.in_doubt
        is_doubted = is_cut_off or (row.error or "").endswith(DOUBT)
        if now.state is JobState.COMPLETED:
            return {"status": status, "error": None}
        if now.state in (JobState.WAITING, JobState.DELAYED):
            # The error of the run before stays until the next one ends, as a processor leaves it.
            return {"status": status, "error": f"cut off as it was sent; {DOUBT}" if is_cut_off else row.error}
        return {"status": status, "error": f"{now.reason}; {DOUBT}" if is_doubted else now.reason}


_MAIL: Final = Words(
    waiting="queued", delayed="delayed", completed="sent", kept=frozenset({"sent"}), in_doubt="sending"
)
_CODE: Final = dataclasses.replace(
    _MAIL, failed=("failed", "expired", "limited"), of_errors={"OtpExpired": "expired", "OtpLimited": "limited"}
)
#: `uploaded` of a job that has completed: what it wrote is not in this database, which was restored from a copy.
_FILE: Final = Words(
    waiting="optimizing",
    delayed="optimizing",
    completed="uploaded",
    kept=frozenset({"optimized"}),
    failed=("failed", "rejected"),
)


def _run_facts(row: Any, now: JobNow) -> Facts | None:
    """Of an AI run that has not told its end: its own delivery's, or that it is lost."""
    is_own = now.delivery == row.delivery
    if row.status != "running" or (now.state is JobState.ACTIVE and is_own):
        return None
    if now.state is JobState.FAILED and is_own:
        return {"status": "failed", "error_type": now.error_type, "error": now.error, "finished_at": utc_now()}
    error_type, _, error = now.reason.partition(": ") if now.state in _NAMED_ENDS else ("", "", "")
    return {"status": "lost", "error_type": error_type or None, "error": error or None, "finished_at": utc_now()}


_NAMED_ENDS: Final = (JobState.FAILED, JobState.CANCELLED, None)


def _tell_runs(session: Session, ids: Collection[int]) -> None:
    """Each run's last entry in AiEventLog says how it ended, once."""
    event = AiEventLog.__table__.c
    said = select(AiEventLog.id).where(AiEventLog.run_id == AiRun.id, AiEventLog.kind == AiRun.status).exists()
    ended = select(
        AiRun.id,
        literal(utc_now(), event.at.type),
        AiRun.status,
        literal(0),
        literal(0),
        AiRun.error_type + ": " + AiRun.error,
    ).where(AiRun.id.in_(ids), AiRun.status.in_(("lost", "failed")), ~said)
    columns = ["run_id", "at", "kind", "input_tokens", "output_tokens", "detail"]
    session.execute(insert(AiEventLog).from_select(columns, ended, include_defaults=False))


KINDS: Final = (
    Kind(
        table=EmailQueue,
        queues=("email:send",),
        columns=("error",),
        stamp="updated_at",
        unfinished=UNFINISHED_MAIL,
        facts_of=_MAIL.facts_of,
    ),
    Kind(
        table=OtpLog,
        queues=("otp:send",),
        columns=("error",),
        stamp="updated_at",
        unfinished=UNFINISHED_CODES,
        facts_of=_CODE.facts_of,
    ),
    Kind(
        table=AiRun,
        queues=("ai:content", "ai:seo", "ai:review"),
        columns=("delivery",),
        stamp="started_at",
        unfinished=UNFINISHED_RUNS,
        facts_of=_run_facts,
        told=_tell_runs,
    ),
    Kind(
        table=WorkflowRun,
        queues=("workflows:run",),
        stamp="updated_at",
        unfinished=UNFINISHED_WORKFLOWS,
        columns=("finished_at", "error_type", "error", "cancelled_by", "tick"),
        facts_of=workflow_facts,
        before=cancel_children,
    ),
    Kind(
        table=File,
        queues=("media:optimize",),
        columns=("error",),
        stamp="updated_at",
        unfinished=UNFINISHED_FILES,
        facts_of=_FILE.facts_of,
    ),
)
