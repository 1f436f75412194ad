"""Each question against hand-made rows, with answers computed another way."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs import sketch
from teknav_ops.snapshots import questions
from teknav_ops.snapshots.open import Snapshot
from tests.snapshots.conftest import SnapshotOf, database_in, snapshots_of
from tests.snapshots.rows import NOON, after, ai_run, event, failure, run

QUERIES = sorted((Path(questions.__file__).parents[1] / "queries").glob("*.sql"))
WINDOW = {"since": NOON, "until": after(hours=1)}
#: Questions that need to be told what they are about.
JOB_ID = str(uuid.uuid4())
SUBJECT: dict[str, dict[str, Any]] = {"job_story": {"job_id": JOB_ID}}
SnapshotsWithRowsAt = Callable[..., Snapshot]


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_states_its_question(path: Path) -> None:
    question, grain, parameters, *body = path.read_text().splitlines()

    assert question.startswith("-- ") and question.endswith("?")
    assert grain.startswith("-- Grain: one row per ") and grain.endswith(".")
    assert parameters.startswith("-- Parameters: ")
    assert set(re.findall(r"\$[a-z]\w*", parameters)) == set(re.findall(r"\$[a-z]\w*", "\n".join(body)))
    assert path.stem in questions.__all__ and inspect.getdoc(getattr(questions, path.stem))


def test_every_question_has_its_file() -> None:
    assert {path.stem for path in QUERIES} == set(questions.__all__)


@pytest.fixture(scope="module")
def snapshots_with_rows_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotsWithRowsAt]:
    """Snapshots in which each kind of row stands at the moments given; made once for all tests that ask the same."""
    with contextlib.ExitStack() as open_until_the_end:

        @functools.cache
        def make(*moments: datetime) -> Snapshot:
            folder = tmp_path_factory.mktemp("snapshot")
            database = open_until_the_end.enter_context(database_in(folder))
            snapshot_of = open_until_the_end.enter_context(snapshots_of(database, folder))
            return snapshot_of([row for at in moments for row in _rows_at(at)], [ai_run(at) for at in moments])

        yield make


def _rows_at(at: datetime) -> list[dict[str, Any]]:
    metrics = event(at, "queue.metrics", detail={"stats": {"waiting": 3}})
    done = event(at, "dlq.purged", actor="owner", outcome="done")
    arrival = event(at, "job.enqueued", job_id=str(uuid.uuid4()))
    return [arrival, run(at, 5.0, job_id=JOB_ID), failure(at), event(at, "dlq.added"), metrics, done]


@pytest.mark.parametrize("name", questions.__all__)
def test_an_empty_snapshot_answers_with_no_rows_and_the_same_columns(
    snapshots_with_rows_at: SnapshotsWithRowsAt, name: str
) -> None:
    ask, subject = getattr(questions, name), SUBJECT.get(name, {})
    empty, full = ask(snapshots_with_rows_at(), **subject), ask(snapshots_with_rows_at(NOON), **subject)

    assert len(empty) == 0 < len(full)
    assert list(empty.columns) == list(full.columns)
    for column in full.columns:
        if isinstance(full[column].dtype, pd.DatetimeTZDtype):
            assert str(full[column].dt.tz) == "UTC"


@pytest.mark.parametrize(
    "name", [name for name in questions.__all__ if name not in ("job_story", "ai_costs", "fingerprints_over_time")]
)
def test_since_is_included_and_until_is_not(snapshots_with_rows_at: SnapshotsWithRowsAt, name: str) -> None:
    ask, microsecond = getattr(questions, name), timedelta(microseconds=1)
    outside = (NOON - microsecond, after(hours=1))
    assert len(ask(snapshots_with_rows_at(*outside), **WINDOW)) == 0
    on_the_edge = ask(snapshots_with_rows_at(*outside, NOON), **WINDOW)
    assert len(on_the_edge) > 0
    last = ask(snapshots_with_rows_at(*outside, NOON, after(hours=1) - microsecond), **WINDOW)
    assert len(last) > 0 and not last.equals(on_the_edge)


def test_p95_by_time(snapshot_of: SnapshotOf) -> None:
    chance = random.Random(7)
    rows = [
        run(
            after(seconds=chance.uniform(0, 3600)), chance.lognormvariate(4, 1), queue=chance.choice(["mail", "sms"]),
            action=chance.choices(["job.completed", "job.failed", "job.retried"], [8, 1, 1])[0],
        )
        for _ in range(2_000)
    ]  # fmt: skip
    # What has no place in it: a snooze, a lost worker's failure, another queue.
    others = [
        run(NOON, 9e9, action="job.snoozed"),
        run(NOON, 0.0, action="job.failed", error_type="WorkerLost", queue="lost"),
    ]

    snapshot = snapshot_of([*rows, *others])
    found = questions.p95_by_time(snapshot, width=timedelta(minutes=15), outcome="any", **WINDOW)

    for outcome, is_wanted in (("completed", True), ("failed", False)):
        of_outcome = questions.p95_by_time(snapshot, width=timedelta(days=1), outcome=outcome, **WINDOW)  # type: ignore[arg-type]
        for row in of_outcome[of_outcome.queue != "lost"].itertuples():
            durations = [
                each["duration_ms"] for each in rows
                if each["queue"] == row.queue and (each["action"] == "job.completed") is is_wanted
            ]  # fmt: skip
            assert (row.n, row.p95_ms) == (
                len(durations),
                pytest.approx(np.quantile(durations, 0.95, method="inverted_cdf")),
            )
            assert row.completed + row.failed + row.retried == sum(each["queue"] == row.queue for each in rows)
    lost = found[found.queue == "lost"].iloc[0]
    assert (lost.n, lost.failed, lost.error_rate) == (0, 1, 1.0) and np.isnan(lost.p95_ms)
    expected = pd.DataFrame(rows).assign(at=lambda frame: pd.to_datetime(frame["at"], utc=True).dt.floor("15min"))
    groups = list(expected.groupby(["at", "queue"]))
    assert len(found) == len(groups) + 1
    for (at, queue), group in groups:
        answer = found[(found["at"] == at) & (found["queue"] == queue)].iloc[0]
        durations = group["duration_ms"].to_numpy()
        counts = Counter(group["action"])
        assert answer.n == len(group)
        assert [answer.p50_ms, answer.p95_ms, answer.p99_ms] == pytest.approx(
            np.quantile(durations, [0.5, 0.95, 0.99], method="inverted_cdf")
        )
        assert answer.avg_ms == pytest.approx(durations.mean())
        assert (answer.completed, answer.failed) == (counts["job.completed"], counts["job.failed"])
        assert answer.rate == pytest.approx((counts["job.completed"] + counts["job.failed"]) / 900)
        assert answer.error_rate == pytest.approx(1 - counts["job.completed"] / len(group))


def test_p95_by_time_of_one_queue_or_several(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of([run(NOON, 5.0, queue=queue) for queue in ("a", "b", "c")])

    assert set(questions.p95_by_time(snapshot, queues="b").queue) == {"b"}
    assert set(questions.p95_by_time(snapshot, queues=["a", "c"]).queue) == {"a", "c"}
    assert len(questions.p95_by_time(snapshot, queues=[])) == 0


@pytest.mark.parametrize("width", [timedelta(seconds=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30)])
@pytest.mark.parametrize(
    "name", [name for name in questions.__all__ if "width" in inspect.signature(getattr(questions, name)).parameters]
)
def test_buckets_of_any_width_begin_at_its_multiples(
    snapshots_with_rows_at: SnapshotsWithRowsAt, name: str, width: timedelta
) -> None:
    starts = set(getattr(questions, name)(snapshots_with_rows_at(NOON), width=width)["at"])

    assert starts == {
        pd.Timestamp(int(NOON.timestamp() // width.total_seconds() * width.total_seconds()), unit="s", tz="UTC")
    }


def test_the_rate_of_a_bucket_that_the_window_cuts_short_is_of_the_part_inside(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of([run(after(seconds=250 + number), 5.0) for number in range(50)])

    (answer,) = questions.p95_by_time(snapshot, since=after(seconds=250)).itertuples()

    assert answer.at == pd.Timestamp(NOON) and answer.rate == pytest.approx(1.0)


def test_the_slowest_jobs_are_the_longest_runs_and_no_snoozes(snapshot_of: SnapshotOf) -> None:
    rows = [run(after(seconds=number), float(number * 37 % 101)) for number in range(100)]

    found = questions.slowest_jobs(snapshot_of([*rows, run(NOON, 1e9, action="job.snoozed")]), limit=5)

    slowest = sorted(rows, key=lambda row: -row["duration_ms"])[:5]
    assert list(found.job_id) == [row["job_id"] for row in slowest]
    assert list(found.duration_ms) == [row["duration_ms"] for row in slowest]


def test_error_types_over_time(snapshot_of: SnapshotOf) -> None:
    rows = [failure(after(minutes=minute), "A") for minute in (1, 2, 70)]
    rows += [
        failure(after(minutes=3), "B", action="job.retried"),
        run(NOON, 5.0),
        failure(NOON, "C", action="dlq.added"),
    ]

    found = questions.error_types_over_time(snapshot_of(rows))

    assert found[["error_type", "n", "failed", "retried"]].values.tolist() == [
        ["A", 2, 2, 0], ["B", 1, 0, 1], ["A", 1, 1, 0],
    ]  # fmt: skip
    assert list(found["at"]) == [pd.Timestamp(moment) for moment in (NOON, NOON, after(hours=1))]


def test_fingerprints_over_time(snapshot_of: SnapshotOf) -> None:
    rows = [
        failure(after(days=-1), "A", detail={"text": "first"}),
        *[failure(after(minutes=minute), "A", detail={"text": f"at {minute}"}) for minute in (1, 2)],
        failure(after(minutes=3), "B", action="job.retried"),
        failure(after(days=1), "A", detail={"text": "last" + "!" * 300}),
    ]
    snapshot = snapshot_of(rows)

    found = questions.fingerprints_over_time(snapshot, **WINDOW)

    first = found.iloc[0]
    assert list(found.fingerprint) == ["f-A", "f-B"] and list(found.n) == [2, 1] and list(found.failed) == [2, 0]
    assert (first.first_seen_at, first.last_seen_at) == (pd.Timestamp(after(days=-1)), pd.Timestamp(after(days=1)))
    assert first.example_error == ("last" + "!" * 300)[:200]
    assert list(questions.fingerprints_over_time(snapshot, **WINDOW, top=1).fingerprint) == ["f-A"]


def test_fingerprints_over_time_leaves_out_what_is_not_in_the_window(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of([failure(NOON - timedelta(microseconds=1), "A"), failure(after(hours=1), "B")])
    assert len(questions.fingerprints_over_time(snapshot, **WINDOW)) == 0


def test_dlq_flow(snapshot_of: SnapshotOf) -> None:
    added = [event(after(minutes=minute), "dlq.added") for minute in range(5)]
    taken = [event(after(minutes=70), "job.replayed")] * 2 + [event(after(minutes=71), "dlq.purged")]
    # An operator's own entry of the same deed is not a second one.
    by_hand = [event(after(minutes=71), "dlq.purged", actor="sara", outcome="done", detail={"deleted": 1})]

    found = questions.dlq_flow(snapshot_of([*added, *taken, *by_hand]))

    assert found[["inflow", "replayed", "deleted", "outflow", "net"]].values.tolist() == [
        [5, 0, 0, 0, 5],
        [0, 2, 1, 3, -3],
    ]


def test_retries_per_success(snapshot_of: SnapshotOf) -> None:
    rows = [run(NOON, 5.0)] * 4 + [failure(NOON, action="job.retried")] * 3 + [failure(NOON, queue="sms")]

    found = questions.retries_per_success(snapshot_of(rows))

    mail, sms = found.itertuples()
    assert (mail.retries_per_success, mail.failed) == (0.75, 0)
    assert np.isnan(sms.retries_per_success) and sms.failed == 1


def test_waiting_time(snapshot_of: SnapshotOf) -> None:
    waits = [float(number**2) for number in range(50)]
    rows = [run(after(seconds=index), 5.0, waited_ms=wait) for index, wait in enumerate(waits)]

    (answer,) = questions.waiting_time(snapshot_of(rows)).itertuples()

    assert [answer.p50_ms, answer.p95_ms, answer.p99_ms] == pytest.approx([24.0**2, 47.0**2, 49.0**2])
    assert (answer.n, answer.max_ms) == (50, max(waits)) and answer.avg_ms == pytest.approx(np.mean(waits))


def test_run_counts(snapshot_of: SnapshotOf) -> None:
    rows = [event(after(minutes=1), "job.enqueued", job_name="send")] * 3
    rows += [run(after(minutes=2), 100.0, waited_ms=7.0)] * 2 + [failure(after(minutes=6))]
    rows += [run(after(minutes=6), 0.0, action="job.failed", error_type="WorkerLost", waited_ms=99.0)]

    snapshot = snapshot_of(rows)

    columns = ["enqueued", "completed", "failed", "retried", "runs", "duration_sum_ms", "waited_runs", "waited_sum_ms"]
    found, any_outcome = questions.run_counts(snapshot), questions.run_counts(snapshot, outcome="any")
    assert found[columns].values.tolist() == [[3, 2, 0, 0, 2, 200, 2, 14], [0, 0, 2, 0, 0, 0, 1, 10]]
    assert any_outcome[columns].values.tolist() == [[3, 2, 0, 0, 2, 200, 2, 14], [0, 0, 2, 0, 1, 5, 1, 10]]


def test_duration_sketch(snapshot_of: SnapshotOf) -> None:
    chance = random.Random(3)
    # As a snapshot keeps them: in single precision.
    durations = [float(np.float32(chance.lognormvariate(3, 3))) for _ in range(1_000)] + [0.0, 0.05, 0.1]
    found = questions.duration_sketch(snapshot_of([run(NOON, duration) for duration in durations]))

    counted = dict(zip(found.bucket, found.n, strict=True))
    assert counted == Counter(map(sketch.bucket, durations))
    exact = sorted(durations)[sketch.nearest_rank(0.95, len(durations)) - 1]
    assert sketch.quantile(counted, 0.95) == pytest.approx(exact, rel=sketch.ALPHA * 1.0001)


def test_queue_metrics(snapshot_of: SnapshotOf) -> None:
    stats = {"waiting": 4, "paused": 0, "active": 2, "delayed": 1, "dlq": 9, "workers": 3, "oldestWaitingAgeMs": 1500,
             "rate": 0.25, "p95DurationMs": 80.5}  # fmt: skip
    late = {"waiting": None, "rate": 0.5}
    rows = [
        event(after(minutes=5), "queue.metrics", detail={"stats": stats, "aggregateAt": "x"}),
        event(after(minutes=10), "queue.metrics", detail={"stats": late, "aggregateAt": "x"}),
    ]

    first, second = questions.queue_metrics(snapshot_of(rows)).itertuples()

    assert (first.waiting, first.active, first.delayed, first.dlq, first.workers) == (4, 2, 1, 9, 3)
    assert (first.oldest_waiting_age_ms, first.rate, first.p95_ms) == (1500, 0.25, 80.5)
    assert np.isnan(second.waiting) and second.rate == 0.5


def test_totals_count_entries_by_kind_and_say_when_the_first_and_the_last_were(snapshot_of: SnapshotOf) -> None:
    actions = ["job.enqueued"] * 5 + ["job.completed"] * 4 + ["job.snoozed"] * 3 + ["job.lost"] * 2 + ["dlq.added"]
    rows = [event(after(minutes=index), action) for index, action in enumerate(actions)]
    rows += [event(NOON, "user.added", queue=None, outcome="done")]

    (answer,) = questions.totals(snapshot_of(rows)).itertuples()

    assert (answer.enqueued, answer.completed, answer.snoozed, answer.lost, answer.dead_lettered) == (5, 4, 3, 2, 1)
    assert (answer.first_at, answer.last_at) == (pd.Timestamp(NOON), pd.Timestamp(after(minutes=14)))


def test_job_story_by_job_and_by_trace(snapshot_of: SnapshotOf) -> None:
    job_id, trace_id = str(uuid.uuid4()), uuid.uuid4().hex
    story = [
        event(NOON, "job.enqueued", job_id=job_id, trace_id=trace_id, job_name="send"),
        failure(after(seconds=1), action="job.retried", job_id=job_id, trace_id=trace_id),
        event(after(seconds=2), "job.lost", job_id=job_id),
        run(after(seconds=3), 5.0, job_id=job_id, trace_id=trace_id, attempt=2),
    ]
    sibling = [
        event(after(seconds=1), "job.enqueued", job_id="not-a-uuid", trace_id=trace_id),
        run(after(seconds=9), 5.0, job_id="not-a-uuid", trace_id=trace_id),
    ]
    snapshot = snapshot_of([*story[::-1], *sibling, run(NOON, 5.0), event(NOON, "job.enqueued", job_id=None)])

    by_job = questions.job_story(snapshot, job_id=job_id)
    by_trace = questions.job_story(snapshot, trace_id=trace_id)

    assert list(by_job.action) == ["job.enqueued", "job.retried", "job.lost", "job.completed"]
    assert by_job.error[1] == "ValueError happened" and set(by_job.trace_id.dropna()) == {trace_id}
    assert set(by_job.job_id) == {job_id} and len(by_trace) == 6
    assert list(questions.job_story(snapshot, job_id="not-a-uuid").action) == ["job.enqueued", "job.completed"]
    assert len(questions.job_story(snapshot, job_id="nobody")) == 0
    for wrong in ({}, {"job_id": job_id, "trace_id": trace_id}):
        with pytest.raises(InvalidRequest, match="job_id"):
            questions.job_story(snapshot, **wrong)


def test_failures_in_window(snapshot_of: SnapshotOf) -> None:
    rows = [failure(after(minutes=minute), actor=f"host:{minute}") for minute in range(5)]
    other = failure(NOON, "Other", actor="host:other")
    snapshot = snapshot_of([*rows, other, run(NOON, 5.0)])

    found = questions.failures_in_window(snapshot, limit=3)

    assert list(questions.failures_in_window(snapshot, fingerprints=["f-Other"]).worker) == ["host:other"]
    assert len(questions.failures_in_window(snapshot, fingerprints=[])) == 0
    assert list(found.worker) == ["host:4", "host:3", "host:2"]
    assert list(found.trace_id) == [row["trace_id"] for row in rows[:1:-1]]


def test_failure_causes_are_grouped_with_their_first_and_newest_failure(snapshot_of: SnapshotOf) -> None:
    rows = [
        failure(after(minutes=5), "A", job_id="late", detail={"text": "newest"}),
        failure(after(minutes=1), "A", job_id="first", attempt=2, job_name="resize", detail={"text": "the root"}),
        failure(after(minutes=2), "A", job_id="first", action="job.retried", detail={"text": "again"}),
        failure(after(minutes=3), "B", queue="sms"), failure(after(days=1), "A", job_id="outside"), run(NOON, 5.0),
    ]  # fmt: skip
    snapshot = snapshot_of(rows)

    found = questions.failure_causes(snapshot, **WINDOW)

    first = found.iloc[0]
    assert list(found.error_type) == ["A", "B"]
    assert (first.n, first.given_up, first.jobs, first.example) == (3, 2, 2, "newest")
    assert (first.first_at, first.last_at) == (pd.Timestamp(after(minutes=1)), pd.Timestamp(after(minutes=5)))
    begun = (first.first_job_name, first.first_job_id, first.first_attempt, first.first_error)
    assert begun == ("resize", "first", 2, "the root")
    assert len(questions.failure_causes(snapshot, **WINDOW, limit=1)) == 1
    assert list(questions.failure_causes(snapshot, **WINDOW, queues="sms").error_type) == ["B"]


def test_failure_reach(snapshot_of: SnapshotOf) -> None:
    known = "01a20000-0000-7000-8000-000000000001"
    rows = [
        failure(after(minutes=1), "A", job_id=known),
        failure(after(minutes=2), "A", job_id=known, action="job.retried"),
        failure(after(minutes=3), "B", job_id="no-uuid", queue="sms"), failure(after(days=1), "C"), run(NOON, 5.0),
    ]  # fmt: skip
    snapshot = snapshot_of(rows)

    (reach,) = questions.failure_reach(snapshot, **WINDOW).itertuples()

    assert (reach.failed_runs, reach.given_up, reach.retried, reach.jobs, reach.causes) == (3, 2, 1, 2, 2)
    assert reach.traces == len({row["trace_id"] for row in rows[:3]}) and list(reach.queues) == ["mail", "sms"]
    assert len(questions.failure_reach(snapshot, **WINDOW, queues="nobody")) == 0


def test_operator_actions(snapshot_of: SnapshotOf) -> None:
    detail = {"deleted": 3, "url": "https://hooks.example/?token=secret", "error": "x" * 500}
    rows = [
        event(NOON, "dlq.purged", actor="sara", outcome="done", detail=detail),
        event(after(minutes=1), "queue.paused", actor="omid", outcome="refused"),
        event(after(minutes=1), "queue.paused", actor="omid", detail={"text": "paused"}),
    ]
    snapshot = snapshot_of(rows)

    found = questions.operator_actions(snapshot)

    assert list(found.action) == ["queue.paused", "dlq.purged"] and list(found.outcome) == ["refused", "done"]
    assert json.loads(found.detail[1]) == {"deleted": 3, "error": "x" * 200}
    assert list(questions.operator_actions(snapshot, actor="sara").actor) == ["sara"]


def test_ai_costs(snapshot_of: SnapshotOf) -> None:
    runs = [
        ai_run(NOON, model="large", cost_micro_usd=2_000_000, article_id=7),
        ai_run(after(days=1), model="small", cost_micro_usd=1_500),
        ai_run(after(days=1), model="small", cost_micro_usd=None, status="failed"),
        ai_run(after(days=2), model="small", status="stopped", call_count=0, cost_micro_usd=0, article_id=None),
    ]
    snapshot = snapshot_of(ai_rows=runs)

    found = questions.ai_costs(snapshot).set_index("key")

    assert list(found.index) == ["openai/large", "openai/small"]
    assert list(found.cost_usd) == [2.0, 0.0015] and list(found.unpriced_runs) == [0, 1]
    assert found.loc["openai/small", ["runs", "succeeded", "failed", "stopped", "calls"]].tolist() == [3, 1, 1, 1, 2]
    assert list(questions.ai_costs(snapshot, by="day").key) == ["2024-11-20", "2024-11-21", "2024-11-22"]
    assert set(questions.ai_costs(snapshot, by="article").key.dropna()) == {"7", "1"}
    assert len(questions.ai_costs(snapshot, by="job")) == 4
    assert len(questions.ai_costs(snapshot, since=after(days=1), until=after(days=2), by="job")) == 2
    with pytest.raises(InvalidRequest, match="by: 'colour'"):
        questions.ai_costs(snapshot, by="colour")  # type: ignore[arg-type]

    # What went to runs that did not succeed stands apart.
    dear = snapshot_of(ai_rows=[ai_run(NOON, model="large", cost_micro_usd=500_000, status="failed")])
    assert list(questions.ai_costs(dear).set_index("key").loc["openai/large", ["cost_usd", "wasted_usd"]]) == [2.5, 0.5]


def test_a_bad_parameter_gets_an_error_that_names_it(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("since", {"since": datetime(2026, 1, 1)}),
        ("since", {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("width", {"width": timedelta(milliseconds=10)}),
    ]
    for name, parameters in wrong:
        with pytest.raises(InvalidRequest, match=name):
            questions.p95_by_time(snapshot, **parameters)
    with pytest.raises(InvalidRequest, match="limit"):
        questions.slowest_jobs(snapshot, limit=0)


def test_run_summary(snapshot_of: SnapshotOf) -> None:
    durations = [float(number) for number in range(1, 101)]
    rows = [run(after(seconds=number), duration) for number, duration in enumerate(durations)]
    rows += [event(NOON, "job.enqueued", job_name="send")] * 3
    rows += [failure(NOON, duration_ms=None), failure(NOON, duration_ms=None, action="job.retried")]

    (found,) = questions.run_summary(snapshot_of([*rows, run(NOON, 9e9, action="job.snoozed")])).itertuples()

    assert (found.enqueued, found.completed, found.failed, found.retried, found.n) == (3, 100, 1, 1, 100)
    assert (found.avg_ms, found.p95_ms) == (50.5, 95.0)


def test_run_durations(snapshot_of: SnapshotOf) -> None:
    rows = [run(after(seconds=number), float(number)) for number in range(2_000)]
    others = [run(NOON, 7.0, job_name="other"), run(NOON, 9e9, action="job.snoozed"), failure(NOON, duration_ms=None)]
    snapshot = snapshot_of([*rows, *others])

    assert sorted(questions.run_durations(snapshot, job_name="send").duration_ms) == [float(n) for n in range(2_000)]
    sample = questions.run_durations(snapshot, limit=400)
    assert len(sample) == 400 and sample.equals(questions.run_durations(snapshot, limit=400))
    # Neither the first rows nor the last: the mean of a fair sample is near the whole's (six standard errors).
    assert sample.duration_ms.mean() == pytest.approx(1_000, abs=6 * 577 / 20)


OUTAGE = [
    *[run(NOON, 1_000.0) for _ in range(30)],
    *[failure(NOON, duration_ms=5.0, action=action) for action in ("job.failed", "job.retried") for _ in range(500)],
]


def test_what_fails_at_once_makes_no_duration_shorter(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of(OUTAGE)

    (by_time,) = questions.p95_by_time(snapshot).itertuples()
    (summary,) = questions.run_summary(snapshot).itertuples()
    (counts,) = questions.run_counts(snapshot).itertuples()
    (sketched,) = questions.duration_sketch(snapshot).itertuples()

    assert by_time.p95_ms == summary.p95_ms == summary.avg_ms == 1_000.0
    assert by_time.n == summary.n == counts.runs == sketched.n == len(questions.run_durations(snapshot)) == 30
    assert by_time.error_rate == summary.error_rate == pytest.approx(1_000 / 1_030)
    assert (counts.duration_sum_ms, counts.waited_runs) == (30_000.0, 1_030)
    assert set(questions.slowest_jobs(snapshot, limit=1_000).action) == {"job.completed"}


@pytest.mark.parametrize("name", sorted(
    name for name in questions.__all__ if "outcome" in inspect.signature(getattr(questions, name)).parameters
))  # fmt: skip
def test_a_question_about_durations_takes_an_outcome(snapshot_of: SnapshotOf, name: str) -> None:
    ask, snapshot = getattr(questions, name), snapshot_of(OUTAGE)

    answers = {outcome: ask(snapshot, outcome=outcome) for outcome in ("completed", "failed", "any")}

    assert not answers["completed"].equals(answers["failed"]) and not answers["any"].equals(answers["failed"])
    with pytest.raises(InvalidRequest, match="outcome: 'well' is none of completed, failed, any"):
        ask(snapshot, outcome="well")


def test_a_job_counts_once_with_its_last_outcome(snapshot_of: SnapshotOf) -> None:
    def story(*actions: str, begin: datetime = NOON, job_id: str = "") -> list[dict[str, Any]]:
        job_id = job_id or str(uuid.uuid4())
        return [
            event(begin + timedelta(minutes=number), action, job_id=job_id, duration_ms=5.0)
            for number, action in enumerate(("job.enqueued", *actions))
        ]

    failed, done, replayed = "job.failed", "job.completed", "job.replayed"
    snapshot = snapshot_of([
        *story(done),
        *story("job.retried", failed),
        *story(failed, replayed, done),
        *story(failed, replayed, failed, replayed, "job.retried", failed, job_id="not-a-uuid"),
        *story(failed, replayed),
        *story("job.retried"),
        *story("job.cancelled"),
        *story(),
        # It arrived before the window, and comes to its end inside.
        *story(failed, replayed, done, begin=after(minutes=-2)),
        *story(done, begin=after(hours=2)),
    ])  # fmt: skip

    (found,) = questions.job_outcomes(snapshot, width=timedelta(days=1), **WINDOW).itertuples()
    (ends,) = questions.first_ends(snapshot, **WINDOW).itertuples()

    assert (found.jobs, found.completed, found.failed, found.cancelled, found.open) == (8, 2, 2, 1, 3)
    assert found.runs == 1 + 2 + 2 + 4 + 1 + 1
    # Those of the window, and none a second time; the early one failed first one minute before it.
    assert (ends.finished, ends.failed) == (5, 4)
