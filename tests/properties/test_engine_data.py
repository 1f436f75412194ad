"""Whatever a job returns or raises, it ends, it can be read, and its worker goes on."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from teknav_ops.engine.result import RESULT_LIMIT_BYTES
from teknav_ops.errors import Throttled, TransientError
from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.topology import Queue, Topology
from tests.properties.payloads import as_json, examples
from tests.support import strategies as odd
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.topology import Work
from tests.support.waiting import until

# The engine's threads use `random` while examples are drawn.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

QUEUE, PATIENT = "test:work", "test:other"
#: One run ends a job of the first queue; one of the second comes back after a while.
TOPOLOGY = Topology(
    Queue(name=QUEUE, purpose="One run.", jobs={"work": Work}, retry=RetryPolicy(attempts=1)),
    Queue(
        name=PATIENT,
        purpose="Two runs.",
        jobs={"other": Work},
        retry=RetryPolicy(attempts=2, min_backoff_ms=3_600_000, max_backoff_ms=3_600_000),
    ),
)
ENDED = {JobState.COMPLETED, JobState.FAILED, JobState.DELAYED}


class Bench:
    """One working engine for all examples: what a job does, and the record of how it ended."""

    def __init__(
        self, engine: Engine, producer: Producer, queries: JobQueries, dead_letters: DeadLetterQueries
    ) -> None:
        self.engine, self.producer, self.queries, self.dead_letters = engine, producer, queries, dead_letters

    def run(self, behaviour: Any, queue: str = QUEUE) -> JobRecord:
        """The job as it stands after its run; with two threads, two jobs that are never let go would be the last."""
        self.engine.behaviour = behaviour
        (name,) = TOPOLOGY[queue].jobs
        job_id = self.producer.enqueue(queue, name, {"number": 1}).job_id
        until(lambda: self.queries.get(queue, job_id).state in ENDED, seconds=30, what="the end of a run")
        record = self.queries.get(queue, job_id)
        if queue == PATIENT:
            # Jobs of earlier examples come back meanwhile, so any may be the newest.
            for job in self.queries.page(queue, JobState.DELAYED).items:
                json.dumps(json.loads(job.model_dump_json()), allow_nan=False)
            return record
        listed = self.queries.page(queue, record.state, limit=5).items
        assert job_id in [job.id for job in listed]
        for job in listed:
            json.dumps(json.loads(job.model_dump_json()), allow_nan=False)
        if record.state is JobState.FAILED:
            letters = self.dead_letters.page(queue, limit=5).items
            assert job_id in [letter.original_job_id for letter in letters]
            for letter in letters:
                json.dumps(json.loads(letter.model_dump_json()), allow_nan=False)
        return record


@pytest.fixture
def bench(redis_server: RedisServer, client: redis.Redis, cipher: Cipher) -> Iterator[Bench]:
    reader: Any = client
    engine = Engine(redis_server.url, cipher, topology=TOPOLOGY)
    producer = Producer(reader, cipher=cipher, topology=TOPOLOGY)
    with engine.working(threads=2):
        yield Bench(engine, producer, JobQueries(reader, TOPOLOGY), DeadLetterQueries(reader, TOPOLOGY))
        until(lambda: not any(engine.broker.held_counts().values()), what="every lease to be given back")
    engine.close()


@examples(100)
@given(result=st.dictionaries(odd.texts, odd.anything, max_size=3) | odd.anything)
def test_any_result_is_kept_or_ends_as_an_invalid_result(bench: Bench, result: Any) -> None:
    record = bench.run(lambda job, ctx: result)

    if record.state is JobState.FAILED:
        assert record.error_type == "InvalidResult" and record.error
    else:
        assert record.state is JobState.COMPLETED
        assert len(json.dumps(record.result, ensure_ascii=False).encode()) <= RESULT_LIMIT_BYTES + 1_000


@examples(30)
@given(result=odd.plain_objects)
def test_a_result_of_plain_data_comes_back_equal(bench: Bench, result: dict[str, Any]) -> None:
    record = bench.run(lambda job, ctx: result)
    assert (record.state, record.result) == (JobState.COMPLETED, as_json(result))


@examples(100)
@given(error=odd.exceptions)
def test_any_exception_is_recorded_with_a_text(bench: Bench, error: BaseException) -> None:
    def fail(job: Any, ctx: Any) -> None:
        raise error

    record = bench.run(fail)

    assert record.state is JobState.FAILED
    assert record.attempts[0].error and record.attempts[0].error_type
    assert len(record.attempts[0].error) <= 2_000


PAUSES = odd.odd_numbers | st.floats() | st.integers()


@examples(60)
@given(pause=PAUSES, kind=st.sampled_from([TransientError, Throttled, dramatiq.Retry]))
def test_any_pause_that_is_asked_for_leaves_a_job_that_can_be_read(bench: Bench, pause: Any, kind: Any) -> None:
    def ask(job: Any, ctx: Any) -> None:
        if kind is dramatiq.Retry:
            raise dramatiq.Retry("later", delay=pause)
        raise kind("later", retry_after_seconds=pause)

    record = bench.run(ask, PATIENT)
    assert record.attempts[-1].error_type == kind.__name__


@examples(40)
@given(fraction=odd.odd_numbers | odd.plain_numbers, note=odd.texts)
def test_any_progress_costs_at_most_the_report(bench: Bench, fraction: Any, note: Any) -> None:
    if not isinstance(fraction, int | float):
        fraction = 0.5
    record = bench.run(lambda job, ctx: ctx.report_progress(fraction, note))
    assert record.state is JobState.COMPLETED


@pytest.mark.parametrize(
    "result",
    [{(1, 2): 3}, {"\ud800": 1}, {"a": "\ud800"}, {"a": float("nan")}, {"a": odd.Raising()}, odd.nested(65)],
    ids=["tuple as key", "half a key", "half a text", "nan", "no text", "deep"],
)
def test_as_many_odd_results_as_threads_stop_nothing(bench: Bench, result: Any) -> None:
    for _ in range(3):
        assert bench.run(lambda job, ctx: result).error_type == "InvalidResult"
    assert bench.run(lambda job, ctx: {"ok": True}).result == {"ok": True}


def test_a_result_of_very_many_parts_is_cut_before_it_is_looked_through(bench: Bench) -> None:
    rows = [0] * 300_000
    tracemalloc.start()
    try:
        record = bench.run(lambda job, ctx: {"count": 3, "rows": rows, "more": dict.fromkeys(range(100_000))})
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()
    assert record.result["count"] == 3 and "2 of its 3 entries" in record.result["cut"]


class _NowhereRaisedError(Exception):
    @property
    def __traceback__(self) -> Any:
        raise RuntimeError("not here")

    @__traceback__.setter
    def __traceback__(self, _: Any) -> None:
        pass


def test_an_exception_that_hides_its_place_is_recorded_all_the_same(bench: Bench) -> None:
    def fail(job: Any, ctx: Any) -> None:
        raise _NowhereRaisedError("x")

    record = bench.run(fail)
    assert (record.error_type, record.error, record.lost_count) == ("_NowhereRaisedError", "x", 0)


def test_a_long_result_is_cut_and_says_so(bench: Bench, client: redis.Redis) -> None:
    record = bench.run(lambda job, ctx: {"count": 3, "rows": ["گزارش" * 10] * 100_000, "name": "x"})

    assert (record.result["count"], record.result["name"]) == (3, "x")
    assert "64 kB" in record.result["cut"] and "rows" not in record.result
    beginning = bench.run(lambda job, ctx: ["x" * 200_000]).result
    assert "64 kB" in beginning["cut"] and beginning["beginning"].startswith('["xxx')
    assert bench.run(lambda job, ctx: {"a": "x" * 60_000}).result == {"a": "x" * 60_000}
