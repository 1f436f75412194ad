"""Questions about one job, about operators, and about money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, get_args

from teknav_ops.errors import InvalidRequest
from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions.asking import ask, at_most, named, window

if TYPE_CHECKING:
    import pandas

CostKey = Literal["model", "task", "job", "article", "day"]
_COST_KEYS: Final[tuple[str, ...]] = get_args(CostKey)


def job_story(snapshot: Snapshot, *, job_id: str | None = None, trace_id: str | None = None) -> pandas.DataFrame:
    """Everything that happened to a job, or to all jobs of a trace (32 hexadecimal digits), oldest first.

    Raises:
        InvalidRequest: neither or both were given.
    """
    if (job_id is None) == (trace_id is None):
        raise InvalidRequest("job_id: give either a job_id or a trace_id")
    return ask(snapshot, "job_story", job_id=job_id, trace_id=trace_id)


def operator_actions(
    snapshot: Snapshot, *, queues: str | Sequence[str] | None = None, since: datetime | None = None,
    until: datetime | None = None, actor: str | None = None, limit: int = 1_000,
) -> pandas.DataFrame:  # fmt: skip
    """What operators did, newest first. `detail` is JSON, without what may be secret."""
    parameters = {**named(queues), **window(since, until), **at_most(limit)}
    return ask(snapshot, "operator_actions", actor=actor, **parameters)


def ai_costs(
    snapshot: Snapshot, *, by: CostKey = "model", since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Runs, tokens and US dollars per model, task, job, article or day. Runs without a known price count 0 dollars
    and are counted in `unpriced_runs`; `wasted_usd` went to runs that did not succeed. A run belongs to the moment
    it began.

    Raises:
        InvalidRequest: `by` is none of these.
    """
    if by not in _COST_KEYS:
        raise InvalidRequest(f"by: {by!r} is none of {', '.join(_COST_KEYS)}")
    return ask(snapshot, "ai_costs", by=by, **window(since, until))
