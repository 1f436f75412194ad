"""History: a queue's numbers over time, from Redis for the last 24 hours and from a snapshot before that.

Both halves are the same counters and the same duration sketch, cut at a whole minute: minutes from the seam on come
from Redis and none of them from the snapshot, so nothing is counted twice; a step across the seam is the sum of both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.sketch import GAMMA, PREFIX
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.metrics.minutes import KEPT_MINUTES, MINUTE_MS, MinuteCounts, read_minutes
from teknav_ops.redis_state.connection import Client
from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions import duration_sketch, run_counts
from teknav_ops.snapshots.questions.asking import of_outcome

if TYPE_CHECKING:
    import numpy
    import pandas

#: So many minutes, the current one included, come from Redis, which keeps an hour more.
LIVE_MINUTES: Final = 24 * 60
_STEPS_LIMIT: Final = 20_000
_MINUTE: Final = timedelta(minutes=1)
_COUNTERS: Final = ("enqueued", "completed", "failed", "retried", "duration_sum_ms", "waited_runs", "waited_sum_ms")
_QUANTILES: Final = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_ALL: Final = ""


def history(
    queue: str,
    window: timedelta,
    step: timedelta,
    *,
    client: Client,
    snapshot: Snapshot | None = None,
    by_job: bool = False,
    outcome: RunOutcome = "completed",
) -> pandas.DataFrame:
    """One row per step (and job name, with `by_job`) of the window that ends now; steps without jobs are there too.

    Steps begin at multiples of `step` since 1970 (UTC); the last one is still under way, and `seconds` is how long each
    has lasted. `rate` is finished jobs per second, completed or failed, `error_rate` the share of runs that ended in an
    error, `runs` those of the outcome with a known duration. Durations are theirs, and percentiles have a relative
    error of at most 2 %. `enqueued` is counted per queue, not per job name. A step of which a part is known to nobody
    (a snapshot that is too old, or too short) has `is_known` False and no numbers.

    Raises:
        InvalidRequest: there is no such outcome, the step is not in whole minutes, there are too many steps, or the
            window reaches back more than 24 hours and there is no snapshot.
    """
    of_outcome(outcome)
    grid = _Grid(client, window, step, live_minutes=KEPT_MINUTES if snapshot is None else LIVE_MINUTES)
    if window > timedelta(minutes=LIVE_MINUTES) and snapshot is None:
        raise InvalidRequest("window: Redis holds 24 hours; pass snapshot=open_snapshot(settings) to look further back")
    cells: defaultdict[str, _Cells] = defaultdict(lambda: _Cells(grid.count, outcome))
    if not by_job:
        cells[_ALL]
    if snapshot is not None and grid.start < grid.seam:
        _add_snapshot(cells, grid, snapshot, queue, by_job=by_job, outcome=outcome)
    first_minute = max(grid.start, grid.seam) // MINUTE_MS
    for minute in read_minutes(client, queue, first_minute, grid.now // MINUTE_MS, by_job=by_job):
        cells[minute.job or _ALL].add_minute(grid.step_of(minute.minute * MINUTE_MS), minute)
    return _frame(cells, grid, grid.known_steps(snapshot), by_job=by_job)


def is_in_redis(window: timedelta, step: timedelta) -> bool:
    """Whether Redis holds all of such a window, from where its first step begins."""
    return window <= timedelta(minutes=LIVE_MINUTES) and window + step < timedelta(minutes=KEPT_MINUTES)


class _Grid:
    """The steps, in ms since the epoch by the server's clock, whose minutes the counters are of. So many of the minutes
    come from Redis.
    """

    def __init__(self, client: Client, window: timedelta, step: timedelta, *, live_minutes: int) -> None:
        if step < _MINUTE or step % _MINUTE:
            raise InvalidRequest(f"step: {step} is not a whole number of minutes")
        if window < step or window / step > _STEPS_LIMIT:
            raise InvalidRequest(f"window: {window} is not between one and {_STEPS_LIMIT:,} steps of {step}")
        seconds, microseconds = client.execute_command("TIME")
        self.now: int = int(seconds) * 1000 + int(microseconds) // 1000
        self.step: int = step // timedelta(milliseconds=1)
        self.start = (self.now - window // timedelta(milliseconds=1)) // self.step * self.step
        self.count = (self.now - self.start) // self.step + 1
        self.seam = (self.now // MINUTE_MS - live_minutes + 1) * MINUTE_MS

    def step_of(self, at_ms: int) -> int:
        """Which step a moment is in."""
        return (at_ms - self.start) // self.step

    def starts(self) -> list[datetime]:
        """When each step begins."""
        return [moment(self.start + number * self.step) for number in range(self.count)]

    def known_steps(self, snapshot: Snapshot | None) -> list[bool]:
        """Whether a step is covered: what lies before the seam must be in the snapshot; without one, in Redis."""
        starts = range(self.start, self.start + self.count * self.step, self.step)
        if snapshot is None:
            return [start >= self.seam for start in starts]
        kept_from, as_of = (at.timestamp() * 1000 for at in (snapshot.meta.kept_from, snapshot.meta.exported_at))
        return [start >= self.seam or (start >= kept_from and min(start + self.step, self.seam) <= as_of)
                for start in starts]  # fmt: skip


class _Cells:
    """Counters and sketch of every step, for one job name or the whole queue."""

    def __init__(self, count: int, outcome: RunOutcome) -> None:
        import numpy as np

        self._count = count
        self.outcome: RunOutcome = outcome
        self.counters = {name: np.zeros(count) for name in _COUNTERS}
        self.sketch: dict[str, numpy.ndarray] = {}

    def bucket(self, field: str) -> numpy.ndarray:
        """How many durations fell into this bucket, per step."""
        import numpy as np

        if field not in self.sketch:
            self.sketch[field] = np.zeros(self._count, dtype=np.int64)
        return self.sketch[field]

    def add_minute(self, step: int, minute: MinuteCounts) -> None:
        """Add one minute of Redis."""
        runs = minute.runs(self.outcome)
        for name in ("enqueued", "completed", "failed", "retried", "waited_sum_ms"):
            self.counters[name][step] += getattr(minute, name) or 0
        self.counters["duration_sum_ms"][step] += runs.sum_ms
        self.counters["waited_runs"][step] += minute.runs("any").count
        for field, count in runs.buckets.items():
            self.bucket(field)[step] += count

    def quantiles(self) -> dict[str, numpy.ndarray]:
        """The percentiles of every step, as sketch.quantile gives them; NaN without runs."""
        import numpy as np

        fields = sorted(self.sketch, key=_number)
        if not fields:
            return {name: np.full(self._count, np.nan) for name in _QUANTILES}
        seen = np.cumsum([self.sketch[field] for field in fields], axis=0)
        values = np.array([_value(field) for field in fields])
        found = {}
        for name, q in _QUANTILES.items():
            ranks = np.maximum(1, np.ceil(np.round(q * seen[-1], 6)))
            place = (seen < ranks).sum(axis=0)
            found[name] = np.where(seen[-1] > 0, values[np.minimum(place, len(fields) - 1)], np.nan)
        return found


def _add_snapshot(
    cells: Mapping[str, _Cells], grid: _Grid, snapshot: Snapshot, queue: str, *, by_job: bool, outcome: RunOutcome
) -> None:  # fmt: skip
    asked: dict[str, Any] = {
        "queues": queue, "width": timedelta(milliseconds=grid.step), "since": moment(grid.start),
        "until": moment(grid.seam), "outcome": outcome,
    }  # fmt: skip
    counts, sketch = run_counts(snapshot, **asked), duration_sketch(snapshot, **asked)
    for frame in (counts, sketch):
        frame["step"] = (frame["at"] - moment(grid.start)) // timedelta(milliseconds=grid.step)
        frame["job"] = frame["job_name"].fillna(_ALL) if by_job else _ALL
    for job, group in counts.groupby("job"):
        if job or not by_job:
            for name, values in cells[str(job)].counters.items():
                _add_at(values, group["step"], group[name])
    for (job_name, field), group in sketch.groupby(["job", "bucket"]):
        if job_name or not by_job:
            _add_at(cells[str(job_name)].bucket(str(field)), group["step"], group["n"])


def _add_at(values: numpy.ndarray, steps: pandas.Series, counts: pandas.Series) -> None:
    import numpy as np

    np.add.at(values, steps.to_numpy(), counts.to_numpy().astype(values.dtype))


def _frame(cells: Mapping[str, _Cells], grid: _Grid, is_known: list[bool], *, by_job: bool) -> pandas.DataFrame:
    import pandas as pd

    starts = pd.to_datetime(grid.starts(), utc=True)
    frames = [_frame_of(cells[job], grid, starts, is_known, job if by_job else None) for job in sorted(cells)]
    # Without jobs there are no rows, but their columns.
    return pd.concat(frames) if frames else _frame_of(_Cells(grid.count, "any"), grid, starts, is_known, _ALL).head(0)


def _frame_of(
    cells: _Cells, grid: _Grid, starts: pandas.DatetimeIndex, is_known: list[bool], job: str | None
) -> pandas.DataFrame:
    import numpy as np
    import pandas as pd

    seconds = np.full(grid.count, grid.step / 1000)
    seconds[-1] = max(1.0, (grid.now - grid.start) / 1000 - (grid.count - 1) * grid.step / 1000)
    sums = cells.counters
    runs = sum(cells.sketch.values(), np.zeros(grid.count))
    ended = sums["completed"] + sums["failed"] + sums["retried"]
    with np.errstate(invalid="ignore", divide="ignore"):
        numbers = {
            "enqueued": sums["enqueued"] if job is None else np.full(grid.count, np.nan),
            **{name: sums[name] for name in ("completed", "failed", "retried")},
            "runs": runs,
            "rate": (sums["completed"] + sums["failed"]) / seconds,
            "error_rate": (sums["failed"] + sums["retried"]) / ended,
            "avg_ms": sums["duration_sum_ms"] / runs,
            **cells.quantiles(),
            "avg_waited_ms": sums["waited_sum_ms"] / sums["waited_runs"],
        }
    frame = pd.DataFrame({"at": starts, **({} if job is None else {"job": job}), **numbers})
    frame.loc[~np.array(is_known), list(numbers)] = np.nan
    return frame.assign(seconds=seconds, is_known=is_known)


def moment(at_ms: int) -> datetime:
    """Milliseconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _number(field: str) -> float:
    return float("-inf") if field == f"{PREFIX}z" else int(field.removeprefix(PREFIX))


def _value(field: str) -> float:
    return 0.0 if field == f"{PREFIX}z" else 2 * GAMMA ** _number(field) / (GAMMA + 1)
