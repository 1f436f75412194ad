"""Replay: one batch replay's facts, as read from its hash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from teknav_ops.jobs.record import moment

ReplayState = Literal["previewed", "running", "finished", "aborted"]

_TYPE: Final = "type:"
_CAUSE: Final = "cause:"


class ReplayCause(BaseModel):
    """How many of a batch share one cause."""

    model_config = ConfigDict(frozen=True)

    error_type: str
    fingerprint: str
    count: int


class Replay(BaseModel):
    """A batch replay: what it will do, and how far it has come.

    `operator` previewed it. `causes` are the fifty most frequent. `missing_count` counts ids that were asked for
    and were no dead letters, `matching_count` all that matched: the list holds the oldest of them. `rate_per_second`
    None is as fast as it can.
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

    @property
    def extent(self) -> str:
        """How many jobs it takes; and of how many, where it was bounded."""
        if self.total_count < self.matching_count:
            return f"{self.total_count:,} of {self.matching_count:,} jobs that match"
        return f"{self.total_count:,} job{'' if self.total_count == 1 else 's'}"

    @property
    def skipped_count(self) -> int:
        """Dead letters that were gone, or had failed anew, when their turn came."""
        return self.done_count - self.replayed_count


def error_type_field(error_type: str) -> str:
    """The field that counts the dead letters of an error type."""
    return _TYPE + error_type


def cause_field(error_type: str, fingerprint: str) -> str:
    """The field that counts the dead letters of a cause."""
    return f"{_CAUSE}{error_type}|{fingerprint}"


def read_replay(queue: str, replay_id: str, facts: Mapping[str, str]) -> Replay:
    """Build the record from a batch replay's hash."""
    types = {name.removeprefix(_TYPE): int(n) for name, n in facts.items() if name.startswith(_TYPE)}
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
            "counts_by_error_type": types,
            "causes": _causes(facts),
        }
    )


def _causes(facts: Mapping[str, str]) -> list[Any]:
    causes = []
    for field, count in facts.items():
        if field.startswith(_CAUSE):
            error_type, _, fingerprint = field.removeprefix(_CAUSE).rpartition("|")
            causes.append({"error_type": error_type, "fingerprint": fingerprint, "count": int(count)})
    return sorted(causes, key=lambda cause: -int(str(cause["count"])))
