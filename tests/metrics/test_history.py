"""Numbers over time, from Redis and a snapshot, without a seam."""

from __future__ import annotations

import bisect
import dataclasses
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis
from sqlalchemy import insert

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.sketch import ALPHA, bucket
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.metrics.history import LIVE_MINUTES, history
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.open import Snapshot, open_snapshot
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.databases import migrate

QUEUE = "mail"
KEPT_IN_REDIS = timedelta(hours=25)
NUMBERS = ["enqueued", "completed", "failed", "retried", "runs"]


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened, as both the minutes and AuditLog tell it."""

    at: datetime
    action: str
    job: str = "send"
    duration_ms: float = 0.0
    waited_ms: int = 0

    @property
    def is_run(self) -> bool:
        return self.action != "job.enqueued"


def redis_now(client: redis.Redis) -> datetime:
    seconds, microseconds = client.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


def tell_redis(client: redis.Redis, events: list[Event]) -> None:
    """What the finish scripts would have counted, of what Redis still keeps."""
    now = redis_now(client)
    counts: Counter[tuple[int, str]] = Counter()
    for event in events:
        if event.at > now - KEPT_IN_REDIS:
            minute = int(event.at.timestamp() // 60)
            if not event.is_run:
                counts[minute, "enqueued"] += 1
                continue
            kind = "" if event.action == "job.completed" else "failed:"
            for field, by in {
                event.action.removeprefix("job."): 1, kind + bucket(event.duration_ms): 1,
                f"{kind}sum_us": int(event.duration_ms * 1000), "waited_ms": event.waited_ms,
            }.items():  # fmt: skip
                counts[minute, f"{event.job}|{field}"] += by
    pipeline = client.pipeline()
    for (minute, field), by in counts.items():
        pipeline.hincrby(QueueKeys(QUEUE).minute(minute), field, by)
    pipeline.execute()


def tell_sql(database: Database, events: list[Event]) -> None:
    rows = [
        {
            "at": event.at, "action": event.action, "queue": QUEUE, "job_name": event.job, "job_id": str(uuid.uuid4()),
            "duration_ms": event.duration_ms if event.is_run else None,
            "waited_ms": event.waited_ms if event.is_run else None,
        }
        for event in events
    ]  # fmt: skip
    with database.session() as session:
        session.execute(insert(AuditLog), rows)


def some_events(start: datetime, end: datetime, count: int, *, job: str = "send", seed: int = 1) -> list[Event]:
    chance = random.Random(seed)
    spread = (end - start).total_seconds()
    events = []
    for _ in range(count):
        at = start + timedelta(seconds=round(chance.uniform(0, spread), 3))
        action = chance.choices(["job.enqueued", "job.completed", "job.failed", "job.retried"], [6, 8, 1, 1])[0]
        events.append(Event(at, action, job, chance.lognormvariate(4, 1.2), chance.randrange(500)))
    return in_order(events)


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.at)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    migrate(url)
    opened = Database.open(url)
    yield opened
    opened.dispose()


@pytest.fixture
def snapshot_of(database: Database, tmp_path: Path) -> Iterator[Callable[[list[Event]], Snapshot]]:
    opened: list[Snapshot] = []

    def make(events: list[Event]) -> Snapshot:
        tell_sql(database, events)
        Exporter(database, tmp_path / "snapshots").export()
        opened.append(open_snapshot(tmp_path / "snapshots"))
        return opened[-1]

    yield make
    for snapshot in opened:
        snapshot.close()


def in_step(events: list[Event], at: pd.Timestamp, step: timedelta) -> list[Event]:
    """The events, which are in the order of their times, of one step."""
    begin, end = (
        bisect.bisect_left(events, moment, key=lambda event: event.at)
        for moment in (at.to_pydatetime(), at.to_pydatetime() + step)
    )
    return events[begin:end]


def check(row: object, events: list[Event], outcome: RunOutcome = "completed") -> None:
    """A row against a computation from the raw durations."""
    counts = Counter(event.action for event in events)
    ended = [event for event in events if event.is_run]
    runs = [each for each in ended if outcome == "any" or (each.action == "job.completed") == (outcome == "completed")]
    durations = np.sort([event.duration_ms for event in runs])
    assert (row.enqueued, row.completed, row.failed, row.retried, row.runs) == (  # type: ignore[attr-defined]
        counts["job.enqueued"], counts["job.completed"], counts["job.failed"], counts["job.retried"], len(runs),
    )  # fmt: skip
    if not runs:
        assert np.isnan([row.avg_ms, row.p50_ms, row.p95_ms, row.p99_ms]).all()  # type: ignore[attr-defined]
    if not ended:
        assert np.isnan([row.error_rate, row.avg_waited_ms]).all()  # type: ignore[attr-defined]
    if not runs:
        return
    quantiles = np.quantile(durations, [0.5, 0.95, 0.99], method="inverted_cdf")
    assert [row.p50_ms, row.p95_ms, row.p99_ms] == pytest.approx(quantiles.tolist(), rel=ALPHA * 1.0001)  # type: ignore[attr-defined]
    assert row.avg_ms == pytest.approx(durations.mean(), rel=1e-3)  # type: ignore[attr-defined]
    assert row.avg_waited_ms == pytest.approx(np.mean([event.waited_ms for event in ended]))  # type: ignore[attr-defined]
    assert row.error_rate == pytest.approx((counts["job.failed"] + counts["job.retried"]) / len(ended))  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(minutes=7), timedelta(hours=2), timedelta(days=1)])
def test_both_halves_together_are_what_happened(
    client: redis.Redis, snapshot_of: Callable[[list[Event]], Snapshot], step: timedelta
) -> None:
    """As in life, the last 25 hours are in both stores, so whatever is counted twice or not at all is seen."""
    now = redis_now(client)
    seam = now - timedelta(minutes=LIVE_MINUTES)
    events = some_events(now - timedelta(days=3), now, 3_000)
    # A crowd around the seam, to the millisecond on either side of whole minutes.
    events += some_events(seam - timedelta(minutes=10), seam + timedelta(minutes=10), 1_000, seed=2)
    edge = seam.replace(second=0, microsecond=0)
    for minute in range(-3, 4):
        for milliseconds in (-1, 0, 1):
            at = edge + timedelta(minutes=minute, milliseconds=milliseconds)
            events.append(Event(at, "job.completed", "send", 50.0, 5))
    events = in_order(events)
    tell_redis(client, events)

    snapshot = snapshot_of(events)
    for outcome in ("failed", "any"):
        found = history(QUEUE, timedelta(days=2), step, client=client, snapshot=snapshot, outcome=outcome)  # type: ignore[arg-type]
        for row in found.itertuples():
            check(row, in_step(events, row.at, step), outcome)
    found = history(QUEUE, timedelta(days=2), step, client=client, snapshot=snapshot)  # type: ignore[arg-type]
    later = redis_now(client)

    starts = list(found["at"])
    assert all(later - earlier == step for earlier, later in pairwise(starts))
    assert starts[0] <= later - timedelta(days=2) and now - timedelta(days=2) < starts[0] + step + timedelta(minutes=1)
    assert found.is_known.all() and str(found["at"].dt.tz) == "UTC"
    for row in found.itertuples():
        check(row, in_step(events, row.at, step))
    assert found[NUMBERS].sum().sum() > 0


def test_by_job_every_job_has_all_steps(client: redis.Redis, snapshot_of: Callable[[list[Event]], Snapshot]) -> None:
    now, step = redis_now(client), timedelta(hours=1)
    jobs = {
        name: some_events(now - timedelta(days=2), now, 500, job=name, seed=index) for index, name in enumerate("ab")
    }
    everything = [event for events in jobs.values() for event in events]
    tell_redis(client, everything)

    found = history(
        QUEUE, timedelta(days=2), step, client=client, snapshot=snapshot_of(everything), by_job=True  # type: ignore[arg-type]
    )  # fmt: skip

    assert list(found.columns[:2]) == ["at", "job"] and found.enqueued.isna().all()
    for name, events in jobs.items():
        rows = found[found["job"] == name]
        assert len(rows) in (49, 50)
        for row in rows.fillna({"enqueued": 0}).itertuples():
            check(row, [event for event in in_step(events, row.at, step) if event.is_run])


def test_a_day_needs_no_snapshot_and_empty_steps_are_there(client: redis.Redis) -> None:
    now = redis_now(client)
    events = some_events(now - timedelta(hours=2), now - timedelta(hours=1), 200)
    tell_redis(client, events)

    found = history(QUEUE, timedelta(hours=6), timedelta(minutes=30), client=client)  # type: ignore[arg-type]

    assert len(found) in (13, 14)
    for row in found.itertuples():
        check(row, in_step(events, row.at, timedelta(minutes=30)))
    empty = found[found.runs == 0]
    assert len(empty) > 0 and (empty.rate == 0).all() and empty.is_known.all()


@pytest.mark.parametrize(("window", "step"), [(24, 15), (24, 60), (12, 7 * 60), (24, 8 * 60)])
def test_a_day_needs_no_snapshot_wherever_its_first_step_begins(client: redis.Redis, window: int, step: int) -> None:
    now = redis_now(client)
    tell_redis(client, [Event(now - timedelta(hours=hour), "job.completed", "send", 5.0) for hour in range(23)])

    found = history(QUEUE, timedelta(hours=window), timedelta(minutes=step), client=client)  # type: ignore[arg-type]

    oldest = now - KEPT_IN_REDIS + timedelta(minutes=2)
    assert (
        found[found["at"] > oldest].is_known.all()
        and not found[found["at"] < oldest - timedelta(minutes=2)].is_known.any()
    )
    assert found["completed"].sum() >= min(window, 12)


def test_rates_are_per_second_also_in_the_step_that_is_under_way(client: redis.Redis) -> None:
    now = redis_now(client)
    events = [Event(now - timedelta(seconds=second), "job.completed", "send", 5.0) for second in range(3 * 3600)]
    tell_redis(client, events)

    before = redis_now(client)
    found = history(QUEUE, timedelta(hours=2), timedelta(hours=1), client=client)  # type: ignore[arg-type]
    after = redis_now(client)

    whole, under_way = found.iloc[:-1], found.iloc[-1]
    assert whole.rate.tolist() == pytest.approx([1.0] * len(whole), rel=1e-3)
    assert found.seconds.tolist() == pytest.approx([*[3600] * len(whole), under_way.completed / under_way.rate])
    shortest, longest = (max(1, (moment - under_way["at"]).total_seconds()) for moment in (before, after))
    assert under_way.completed / longest * 0.999 <= under_way.rate <= under_way.completed / shortest * 1.001


def test_a_cluster_answers_as_well(cluster_client: Client) -> None:
    found = history(QUEUE, timedelta(hours=1), timedelta(minutes=10), client=cluster_client)
    assert len(found) in (6, 7) and (found.completed == 0).all()


def test_a_queue_where_nothing_happened_has_zeros(
    client: redis.Redis, snapshot_of: Callable[[list[Event]], Snapshot]
) -> None:
    now = redis_now(client)
    # Another time's events, so that the snapshot is not empty and up to date.
    snapshot = snapshot_of(some_events(now - timedelta(days=20), now - timedelta(days=19), 10))

    found = history(QUEUE, timedelta(days=3), timedelta(hours=6), client=client, snapshot=snapshot)  # type: ignore[arg-type]
    by_job = history(QUEUE, timedelta(days=3), timedelta(hours=6), client=client, snapshot=snapshot, by_job=True)  # type: ignore[arg-type]

    assert (found[NUMBERS] == 0).all().all() and found.p95_ms.isna().all() and found.is_known.all()
    assert len(by_job) == 0 and set(by_job.columns) - set(found.columns) <= {"job"}


def test_what_nobody_knows_is_not_shown_as_nothing(
    client: redis.Redis, snapshot_of: Callable[[list[Event]], Snapshot]
) -> None:
    now, day = redis_now(client), timedelta(days=1)
    events = some_events(now - 6 * day, now, 500)
    tell_redis(client, events)
    snapshot = snapshot_of(events)
    # An exporter that stopped three days ago, and a snapshot that reaches back five.
    snapshot.meta = dataclasses.replace(snapshot.meta, exported_at=now - 3 * day, kept_from=now - 5 * day)

    found = history(QUEUE, 6 * day, timedelta(hours=1), client=client, snapshot=snapshot)  # type: ignore[arg-type]

    age = now - found["at"]
    hour = timedelta(hours=1)
    assert not found[(age > 5 * day) | ((age < 3 * day - hour) & (age > day + hour))].is_known.any()
    assert found[(age < 5 * day - hour) & (age > 3 * day + hour)].is_known.all()
    assert found[age < day - hour].is_known.all()
    unknown = found[~found.is_known]
    assert unknown[[*NUMBERS, "rate", "error_rate", "p95_ms"]].isna().all().all()


@pytest.mark.parametrize(
    ("window", "step", "name"),
    [
        (timedelta(days=2), timedelta(minutes=5), "snapshot"),
        (timedelta(hours=1), timedelta(seconds=90), "step"),
        (timedelta(hours=1), timedelta(0), "step"),
        (timedelta(minutes=1), timedelta(hours=1), "window"),
        (timedelta(days=365), timedelta(minutes=1), "window"),
    ],
)
def test_a_bad_request_names_what_is_wrong(client: redis.Redis, window: timedelta, step: timedelta, name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        history(QUEUE, window, step, client=client)  # type: ignore[arg-type]


def test_an_outcome_that_there_is_not_is_refused(client: redis.Redis) -> None:
    with pytest.raises(InvalidRequest, match="outcome: 'Failed' is none of"):
        history(QUEUE, timedelta(hours=1), timedelta(minutes=5), client=client, outcome="Failed")  # type: ignore[arg-type]
