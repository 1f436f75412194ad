"""Deletion: one batch deletion's facts, as read from its hash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from teknav_ops.jobs.batch_replay import ReplayCause, extent_of, read_causes, read_types
from teknav_ops.jobs.record import moment


class Deletion(BaseModel):
    """A frozen list of dead letters to delete, and how many of them are deleted.

    `operator` previewed it. `causes` are the fifty most frequent. `missing_count` counts ids that were asked for
    and were no dead letters, `matching_count` all that matched: the list holds the oldest of them.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    queue: str
    operator: str
    state: Literal["previewed", "finished"]
    created_at: datetime
    total_count: int
    matching_count: int
    missing_count: int = 0
    counts_by_error_type: dict[str, int] = {}
    causes: list[ReplayCause] = []
    reason: str | None = None
    deleted_by: str | None = None
    ended_at: datetime | None = None
    deleted_count: int = 0

    @property
    def extent(self) -> str:
        """How many dead letters it takes; and of how many, where it was bounded."""
        return extent_of(self.total_count, self.matching_count, what="dead letter")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def skipped_count(self) -> int:
        """Dead letters that were gone, or had failed anew, when their turn came; 0 until it has ended."""
        return self.total_count - self.deleted_count if self.state == "finished" else 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> str:
        """What became of the list, in words."""
        skipped = f"; {self.skipped_count:,} were gone or had failed anew" if self.skipped_count else ""
        return f"{self.deleted_count:,} of {self.total_count:,} dead letters deleted{skipped}"


def read_deletion(queue: str, deletion_id: str, facts: Mapping[str, str]) -> Deletion:
    """Build the record from a batch deletion's hash."""
    return Deletion.model_validate(
        {
            "id": deletion_id,
            "queue": queue,
            "operator": facts["operator"],
            "state": facts["state"],
            "created_at": moment(facts["created_at_ms"]),
            "total_count": facts["total"],
            "matching_count": facts["matching"],
            "missing_count": facts["missing"],
            "counts_by_error_type": read_types(facts),
            "causes": read_causes(facts),
            "reason": facts.get("reason"),
            "deleted_by": facts.get("deleted_by"),
            "ended_at": moment(facts.get("ended_at_ms")),
            "deleted_count": facts.get("deleted", 0),
        }
    )
