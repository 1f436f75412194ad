"""Replay: one batch replay's facts, as read from its hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, computed_field

from teknav_ops.jobs.record import moment

ReplayState = Literal["previewed", "running", "finished", "aborted"]

_TYPE: Final = "type:"
_CAUSE: Final = "cause:"
_AGAIN: Final = "again:"
_SKIPPED: Final = "skipped:"
#: So many of the error types that failed again are named in words.
_TYPES_TOLD: Final = 3
#: Why a job was left alone when its turn came, in words.
SKIP_WORDS: Final = {
    "gone": "no longer kept", "other": "not failed any more", "anew": "failed anew meanwhile",
    "deleted": "deleted meanwhile", "unreadable": "unreadable", "key": "whose key another job has now",
}  # fmt: skip


class ReplayCause(BaseModel):
    """How many of a batch share one cause."""

    model_config = ConfigDict(frozen=True)

    error_type: str
    fingerprint: str
    count: int


def extent_of(total: int, matching: int, *, what: str = "job") -> str:
    """How many jobs a frozen list takes, or of what else; and of how many, where it was bounded."""
    if total < matching:
        return f"{total:,} of {matching:,} {what}s that match"
    return f"{total:,} {what}{'' if total == 1 else 's'}"


class Replay(BaseModel):
    """A batch replay: what it will do, and how far it has come.

    `operator` previewed it. `causes` are the fifty most frequent. `missing_count` counts ids that were asked for
    and were no dead letters, `matching_count` all that matched: the list holds the oldest of them. `rate_per_second`
    None is as fast as it can.

    `replayed_count` is how many were put back to wait; each of them then ends in one of `completed_count`,
    `failed_again_count` and `cancelled_count`, or is among `unsettled_count`. `has_outcome` is False for
    replays of versions that did not follow their jobs.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    queue: str
    name: str = ""
    operator: str
    state: ReplayState
    created_at: datetime
    started_by: str | None = None
    started_at: datetime | None = None
    aborted_by: str | None = None
    ended_at: datetime | None = None
    rate_per_second: float | None = None
    total_count: int
    matching_count: int
    missing_count: int = 0
    done_count: int = 0
    replayed_count: int = 0
    counts_by_error_type: dict[str, int] = {}
    causes: list[ReplayCause] = []
    has_outcome: bool = False
    completed_count: int = 0
    failed_again_count: int = 0
    cancelled_count: int = 0
    failed_again: list[ReplayCause] = []
    skipped_by_reason: dict[str, int] = {}

    @property
    def extent(self) -> str:
        """How many jobs it takes; and of how many, where it was bounded."""
        return extent_of(self.total_count, self.matching_count)

    @property
    def skipped_count(self) -> int:
        """Dead letters that were gone, or had failed anew, when their turn came."""
        return self.done_count - self.replayed_count

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unsettled_count(self) -> int:
        """Jobs that were put back and have not ended: they wait, run, or wait for another attempt."""
        ended = self.completed_count + self.failed_again_count + self.cancelled_count
        return max(0, self.replayed_count - ended) if self.has_outcome else 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> str:
        """What became of its jobs, in words: those that have ended, those that have not, and those left alone."""
        if self.state == "previewed":
            return "not started"
        if not self.has_outcome:
            return f"{self.replayed_count:,} replayed"
        told = [f"{self.completed_count:,} completed", f"{self.failed_again_count:,} failed again{self._causes_again}"]
        told += [f"{self.unsettled_count:,} still waiting or running"] if self.unsettled_count else []
        told += [f"{self.cancelled_count:,} taken out"] if self.cancelled_count else []
        skipped = [f"{count:,} {SKIP_WORDS.get(why, why)}" for why, count in self.skipped_by_reason.items()]
        return ", ".join(told) + (f"; {self.skipped_count:,} skipped: {', '.join(skipped)}" if skipped else "")

    @property
    def _causes_again(self) -> str:
        """What failed again, by error type, the most frequent first."""
        counts = Counter[str]()
        for cause in self.failed_again:
            counts[cause.error_type] += cause.count
        told = [f"{error_type} {count:,}" for error_type, count in counts.most_common(_TYPES_TOLD)]
        more = [f"{len(counts) - _TYPES_TOLD:,} more types"] if len(counts) > _TYPES_TOLD else []
        return f" ({', '.join([*told, *more])})" if told else ""


def error_type_field(error_type: str) -> str:
    """The field that counts the dead letters of an error type."""
    return _TYPE + error_type


def cause_field(error_type: str, fingerprint: str) -> str:
    """The field that counts the dead letters of a cause."""
    return f"{_CAUSE}{error_type}|{fingerprint}"


def read_replay(queue: str, replay_id: str, facts: Mapping[str, str]) -> Replay:
    """Build the record from a batch replay's hash."""
    return Replay.model_validate(
        {
            "id": replay_id,
            "queue": queue,
            "name": facts.get("name", ""),
            "operator": facts["operator"],
            "state": facts["state"],
            "created_at": moment(facts["created_at_ms"]),
            "started_by": facts.get("started_by"),
            "started_at": moment(facts.get("started_at_ms")),
            "aborted_by": facts.get("aborted_by"),
            "ended_at": moment(facts.get("ended_at_ms")),
            "rate_per_second": facts.get("rate"),
            "total_count": facts["total"],
            "matching_count": facts.get("matching", facts["total"]),
            "missing_count": facts.get("missing", 0),
            "done_count": facts.get("done", 0),
            "replayed_count": facts.get("replayed", 0),
            "counts_by_error_type": read_types(facts),
            "causes": read_causes(facts),
            "has_outcome": facts.get("has_outcome", False),
            "completed_count": facts.get("completed", 0),
            "failed_again_count": facts.get("failed_again", 0),
            "cancelled_count": facts.get("cancelled", 0),
            "failed_again": read_causes(facts, _AGAIN),
            "skipped_by_reason": _read_skipped(facts),
        }
    )


def _read_skipped(facts: Mapping[str, str]) -> dict[str, int]:
    """How many were left alone, by why: the most frequent first."""
    counts = {name.removeprefix(_SKIPPED): int(n) for name, n in facts.items() if name.startswith(_SKIPPED)}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def read_types(facts: Mapping[str, str]) -> dict[str, int]:
    """How many of a frozen list are of each error type, from its record."""
    return {name.removeprefix(_TYPE): int(n) for name, n in facts.items() if name.startswith(_TYPE)}


def read_causes(facts: Mapping[str, str], prefix: str = _CAUSE) -> list[Any]:
    """How many of a frozen list share each cause, most frequent first, from its record."""
    causes = []
    for field, count in facts.items():
        if field.startswith(prefix):
            error_type, _, fingerprint = field.removeprefix(prefix).rpartition("|")
            causes.append({"error_type": error_type, "fingerprint": fingerprint, "count": int(count)})
    return sorted(causes, key=lambda cause: -int(str(cause["count"])))
