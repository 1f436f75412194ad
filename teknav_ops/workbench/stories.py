"""Stories: all that is known of one job, or of the jobs of a trace, for `job_story`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from teknav_ops.audit.story import story
from teknav_ops.audit.trail import AuditEntry
from teknav_ops.errors import InvalidRequest, NoSnapshot
from teknav_ops.jobs.record import Attempt, JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.snapshots import questions
from teknav_ops.triage.timeline import stretches

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

_ID: Final = re.compile(r"[\w.:-]{1,200}")
#: Records read for one trace; a trace with more jobs than this is a workflow to look at by its steps.
_RECORDS: Final = 50
_NEAR: Final = timedelta(hours=1)
_COLUMNS: Final = (
    "at", "queue", "job_name", "job_id", "action", "attempt", "waited_ms", "duration_ms", "error_type", "actor",
    "outcome",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class JobStory:
    """What happened to `asked`, a job id or a trace id. Texts of payloads have their secrets masked."""

    asked: str
    entries: Sequence[AuditEntry]
    records: Sequence[JobRecord]
    is_complete: bool
    site_url: str

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.entries or self.records)

    @property
    def words(self) -> str:
        """One sentence for a person."""
        if not self.asked:
            return "**No job has failed lately**, and none was named: give `job` a job id or a trace id."
        if not self.is_known:
            return (
                f"**Nothing is known of `{self.asked}`.** Finished jobs leave Redis after a while, and entries leave "
                "AuditLog by their age. Is it an id of this system, and of this profile?"
            )
        jobs = self.jobs()
        more = "" if self.is_complete else " There is more than could be looked at."
        if len(jobs) == 1:
            row = jobs.iloc[0]
            return f"**{row.queue} {row.job_name}**: {row.state}; runs that ended: {row.runs}.{more}"
        return f"**{len(jobs)} jobs** on {jobs.queue.nunique()} queues belong to this trace.{more}"

    def table(self) -> pandas.DataFrame:
        """Every entry, oldest first; times in UTC, waits and durations in ms."""
        import pandas as pd

        facts = [{name: getattr(entry, name) for name in _COLUMNS} for entry in self.entries]
        rows = [row | {"detail": _detail(entry)} for row, entry in zip(facts, self.entries, strict=True)]
        # Else an attempt that is missing somewhere would make all of them 1.0, 2.0, …
        return pd.DataFrame(rows, columns=[*_COLUMNS, "detail"]).astype({"attempt": "Int64"})

    def stretches(self) -> pandas.DataFrame:
        """Waits and runs: job_id, job_name, queue, attempt, part, since, until, outcome, error_type."""
        import pandas as pd

        return pd.DataFrame(list(map(dataclasses.asdict, stretches(self.entries))))

    def jobs(self) -> pandas.DataFrame:
        """One row per job: queue, job_name, job_id, state, runs, waited_ms and ran_ms in all, error_type, page."""
        import pandas as pd

        entries = self.table()
        records = {record.id: record for record in self.records}
        of_job = {str(job_id): rows for job_id, rows in entries.groupby("job_id", sort=False)}
        known = dict.fromkeys([*of_job, *records])
        return pd.DataFrame(
            [self._job(job_id, of_job.get(job_id, entries.iloc[:0]), records.get(job_id)) for job_id in known],
            columns=["queue", "job_name", "job_id", "state", "runs", "waited_ms", "ran_ms", "error_type", "page"],
        )

    def attempts(self) -> list[str]:
        """The failed runs that Redis still keeps, as text: when, how long, by which worker, error and stack trace."""
        return [_attempt_text(record, attempt) for record in self.records for attempt in record.attempts]

    def payloads(self) -> list[str]:
        """What each job that Redis still keeps was asked to do, and what it answered."""
        return [
            f"{record.queue} {record.name} {record.id}\n"
            + json.dumps(record.payload, indent=2, ensure_ascii=False)
            + ("" if record.result is None else f"\n→ {json.dumps(record.result, ensure_ascii=False)}")
            for record in self.records
        ]

    @property
    def fingerprints(self) -> list[str]:
        """Causes of its failures."""
        found = [entry.fingerprint for entry in self.entries if entry.fingerprint]
        return list(dict.fromkeys([*found, *(record.fingerprint for record in self.records if record.fingerprint)]))

    def _job(self, job_id: str, rows: pandas.DataFrame, record: JobRecord | None) -> dict[str, Any]:
        errors = rows["error_type"].dropna()
        runs = rows[rows["duration_ms"].notna() & rows["action"].str.startswith("job.")]
        queue = record.queue if record else next(iter(rows["queue"].dropna()), "?")
        return {
            "queue": queue, "job_name": record.name if record else next(iter(rows["job_name"].dropna()), "?"),
            "job_id": job_id, "state": record.state.value if record else _last_state(rows), "runs": len(runs),
            "waited_ms": float(runs["waited_ms"].fillna(0).sum()), "ran_ms": float(runs["duration_ms"].sum()),
            "error_type": errors.iloc[-1] if len(errors) else None,
            "page": f"{self.site_url}/dashboard/owner/queues/{quote(queue)}/jobs/{quote(job_id)}",
        }  # fmt: skip


def tell_story(bench: Workbench, job: str) -> JobStory:
    """The story of a job id or a trace id; of the newest failed job when none is named.

    Raises:
        InvalidRequest: `job` is neither. StorageUnavailable, RedisUnavailable: with what to do.
    """
    asked = job.strip()
    if asked and not _ID.fullmatch(asked):
        raise InvalidRequest("job: give a job id or a trace id, as the dashboard, the command line and logs show them")
    asked = asked or _newest_failed(bench)
    site = bench.settings.alert_site_url or bench.settings.web_url
    if not asked:
        return JobStory("", (), (), True, site.rstrip("/"))
    told = story(bench.database, bench.client, bench.topology, asked)
    places = {(entry.queue, entry.job_id) for entry in told.entries if entry.queue and entry.job_id}
    return JobStory(asked, told.entries, _records(bench, asked, places), told.is_complete, site.rstrip("/"))


def alike(bench: Workbench, told: JobStory, *, limit: int = 20) -> pandas.DataFrame:
    """Failed runs of the same causes within an hour before and after, from the snapshot; none without one."""
    import pandas as pd

    if not told.fingerprints or not told.entries:
        return pd.DataFrame()
    since, until = told.entries[0].at - _NEAR, told.entries[-1].at + _NEAR
    try:
        # Its own failures are among them, at most as many as it has entries.
        found = questions.failures_in_window(
            bench.snapshot, fingerprints=told.fingerprints, since=since, until=until, limit=limit + len(told.entries)
        )
    except NoSnapshot:
        return pd.DataFrame()
    return found[~found["job_id"].isin([entry.job_id for entry in told.entries])].head(limit)


def _records(bench: Workbench, asked: str, places: set[tuple[str, str]]) -> list[JobRecord]:
    """What Redis still keeps of the jobs; `asked` itself is looked for on every queue when no entry named it."""
    # What is gone, or damaged, is left out: its entries tell the rest.
    where = sorted(places)[:_RECORDS] or [(queue, asked) for queue in bench.topology]
    return sorted(bench.jobs.many(where), key=lambda record: record.enqueued_at)


def _newest_failed(bench: Workbench) -> str:
    pages = (bench.jobs.page(queue, JobState.FAILED, limit=1) for queue in bench.topology)
    newest = [page.items[0] for page in pages if page.items]
    began = datetime.min.replace(tzinfo=UTC)
    return max(newest, key=lambda record: record.finished_at or began).id if newest else ""


def _attempt_text(record: JobRecord, attempt: Attempt) -> str:
    begun = f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"{record.queue} {record.name} {record.id}: attempt {attempt.attempt} at {begun}, "
        f"{attempt.duration_ms:,.0f} ms, by {attempt.worker}\n"
        f"{attempt.error_type}: {attempt.error}\n\n{attempt.stack}"
    )


def _last_state(rows: pandas.DataFrame) -> str:
    """What the last entry about the job itself left it as."""
    last = [action for action in rows["action"] if action.startswith("job.")]
    return last[-1].removeprefix("job.") if last else "unknown"


def _detail(entry: AuditEntry) -> str:
    return "" if not entry.detail else str(entry.detail.get("text") or json.dumps(entry.detail, ensure_ascii=False))
