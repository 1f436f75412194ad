"""What changed: an incident's window against the time before it, the largest change first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.proportions import LEAST_DOUBLINGS, LEAST_Z, ErrorRates

if TYPE_CHECKING:
    import pandas

Kind = Literal["arrivals", "completions", "error rate", "p95", "new cause", "new job", "silent job", "workers"]
Key = tuple[str, str | None]

#: Fewer runs than this on either side say nothing about a p95.
_LEAST_RUNS: Final = 200
#: A job that should have come so often and never did has fallen silent.
_LEAST_EXPECTED: Final = 10.0
#: Added to counts, so that from nothing to something has a size (Anscombe's half).
_HALF: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """What one job did in a period: a row of `questions.run_summary`."""

    queue: str
    job_name: str | None
    enqueued: int
    completed: int
    failed: int
    retried: int
    n: int
    p95_ms: float | None

    @property
    def ended(self) -> int:
        """Runs that ended, one way or another."""
        return self.completed + self.failed + self.retried


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One error fingerprint in the window, and when it was first seen at all."""

    queue: str
    fingerprint: str
    error_type: str
    example_error: str | None
    first_seen_at: datetime
    n_in_window: int


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One change. `size` is in doublings: 1 is twice or half as much, 3.3 is ten times."""

    kind: Kind
    queue: str
    job_name: str | None
    before: float | None
    after: float | None
    size: float
    words: str


@dataclasses.dataclass(frozen=True, slots=True)
class WhatChanged:
    """The changes, largest first, and what operators did in the window, in the order of time."""

    since: datetime
    until: datetime
    before_since: datetime
    changes: Sequence[Change]
    operator_actions: Sequence[Mapping[str, Any]]
    #: False where nothing is on record of the time before: then no job is called new.
    is_comparable: bool = True

    def to_frame(self) -> pandas.DataFrame:
        """The changes as a DataFrame."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(Change)]
        return pd.DataFrame([{name: getattr(change, name) for name in names} for change in self.changes], columns=names)

    def words(self, limit: int = 10) -> list[str]:
        """The largest changes, one line each."""
        words = [change.words for change in self.changes[:limit]]
        nothing = f"nothing is on record from {self.before_since:%Y-%m-%d %H:%M} to {self.since:%Y-%m-%d %H:%M} UTC"
        return words if self.is_comparable else [f"{nothing}, so there is nothing to compare with", *words][:limit]


def summarize(
    before: Iterable[JobCounts], window: Iterable[JobCounts], *, since: datetime, until: datetime,
    before_since: datetime, causes: Iterable[Cause] = (), workers: Mapping[str, tuple[float, float]] | None = None,
    operator_actions: Sequence[Mapping[str, Any]] = (),
) -> WhatChanged:  # fmt: skip
    """Compare the window from `since` to `until` with the time from `before_since` to `since`. Pure.

    `workers` gives per queue how many worker processes there were before, and at the end.

    Raises:
        InvalidRequest: a period is empty.
    """
    if not before_since < since < until:
        raise InvalidRequest("since: must lie after before_since and before until")
    share = (until - since) / (since - before_since)
    seconds = (until - since).total_seconds()
    old, new = ({(row.queue, row.job_name): row for row in rows} for rows in (before, window))
    changes = [
        change
        for key in (sorted(old.keys() | new.keys(), key=str) if old else ())
        for change in _of_job(key, old.get(key), new.get(key), share, seconds)
    ]
    changes += [_new_cause(cause) for cause in causes if cause.first_seen_at >= since]
    changes += [change for queue, counts in (workers or {}).items() for change in _workers(queue, *counts)]
    ranked = sorted(changes, key=lambda change: -change.size)
    actions = sorted(operator_actions, key=lambda action: action["at"])
    return WhatChanged(since, until, before_since, ranked, actions, is_comparable=bool(old))


def _of_job(
    key: Key, old: JobCounts | None, new: JobCounts | None, share: float, seconds: float
) -> list[Change]:  # fmt: skip
    if new is None or old is None:
        return _come_or_gone(key, old, new, share)
    arrivals = _count_change("arrivals", key, old.enqueued, new.enqueued, share, seconds)
    ended = _count_change("completions", key, old.completed, new.completed, share, seconds)
    return [change for change in (arrivals, ended, _error_rate(key, old, new), _p95(key, old, new)) if change]


def _come_or_gone(key: Key, old: JobCounts | None, new: JobCounts | None, share: float) -> list[Change]:
    name = f"{key[0]} {key[1] or '?'}"
    if new is not None:
        count = max(new.enqueued, new.ended)
        return [Change("new job", *key, 0, count, _doublings(0, count), f"{name}: new, {count:,} times")]
    assert old is not None
    expected = max(old.enqueued, old.ended) * share
    if expected < _LEAST_EXPECTED:
        return []
    words = f"{name}: silent; {expected:,.0f} would have been usual"
    return [Change("silent job", *key, expected, 0, _doublings(expected, 0), words)]


def _count_change(kind: Kind, key: Key, old: int, new: int, share: float, seconds: float) -> Change | None:
    """Two Poisson counts over periods of different length (Przyborowski and Wilenski 1940, in its normal form)."""
    expected = old * share
    size = _doublings(expected, new)
    if size < LEAST_DOUBLINGS or abs(new - expected) < LEAST_Z * math.sqrt(new + old * share**2 + _HALF):
        return None
    before, after = expected / seconds, new / seconds
    ratio = (new + _HALF) / (expected + _HALF)
    words = f"{key[0]} {key[1] or '?'}: {kind} ×{ratio:.2f} ({_rate(before)} to {_rate(after)})"
    return Change(kind, *key, before, after, size, words)


def _error_rate(key: Key, old: JobCounts, new: JobCounts) -> Change | None:
    rates = ErrorRates(old.failed + old.retried, old.ended, new.failed + new.retried, new.ended)
    if not rates.has_moved or rates.before is None or rates.now is None:
        return None
    words = (
        f"{key[0]} {key[1] or '?'}: {rates.before:.1%} to {rates.now:.1%} of runs end in an error ({new.ended:,} runs)"
    )
    return Change("error rate", *key, rates.before, rates.now, rates.doublings, words)


def _p95(key: Key, old: JobCounts, new: JobCounts) -> Change | None:
    if old.p95_ms is None or new.p95_ms is None or min(old.n, new.n) < _LEAST_RUNS:
        return None
    size = _doublings(old.p95_ms, new.p95_ms)
    if size < LEAST_DOUBLINGS:
        return None
    span = f"p95 of completed runs {old.p95_ms:,.0f} to {new.p95_ms:,.0f} ms ({new.n:,} runs)"
    words = f"{key[0]} {key[1] or '?'}: {span}"
    return Change("p95", *key, old.p95_ms, new.p95_ms, size, words)


def _new_cause(cause: Cause) -> Change:
    example = " ".join((cause.example_error or "").split())[:120]
    words = f"{cause.queue}: new cause {cause.error_type} {cause.fingerprint}, {cause.n_in_window:,} times: {example}"
    return Change("new cause", cause.queue, None, 0, cause.n_in_window, _doublings(0, cause.n_in_window), words)


def _workers(queue: str, before: float, after: float) -> list[Change]:
    if before == after:
        return []
    words = f"{queue}: {before:g} to {after:g} worker processes"
    return [Change("workers", queue, None, before, after, _doublings(before, after), words)]


def _doublings(before: float, after: float) -> float:
    return abs(math.log2((after + _HALF) / (before + _HALF)))


def _rate(per_second: float) -> str:
    return f"{per_second:,.1f}/s" if per_second >= 1 else f"{per_second * 60:,.1f}/min"


def period_before(since: datetime, until: datetime, span: timedelta | None = None) -> datetime:
    """Where the time before begins: `span` back, four times the window unless given."""
    return since - (span or 4 * (until - since))
