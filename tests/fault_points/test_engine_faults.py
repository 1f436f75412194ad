"""A worker with the connection lost beneath it, at each script that the engine sends: every job ends once.

Where the answer to `fetch` is lost, its jobs are active with nobody to run them until their lease ends. The tests end
such leases by hand, and let the worker's heartbeat take the jobs back.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from teknav_ops import engine as engine_package
from teknav_ops.engine.middleware.started import Started
from teknav_ops.engine.processor import JobContext
from teknav_ops.engine.stuck_jobs import Graces
from teknav_ops.errors import PermanentError
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from tests.fault_points.cases import ENDED, reclaim_call
from tests.support.engine import Engine
from tests.support.invariants import broken_promises
from tests.support.queue_dump import dump_queue
from tests.support.scale import scaled
from tests.support.script_list import missing_cases
from tests.support.state import KEYS, QUEUE, State
from tests.support.tcp_proxy import FaultProxy, Moment
from tests.support.topology import TOPOLOGY, Work
from tests.support.waiting import ANSWER_SECONDS, until

#: Scripts that a batch of jobs brings about by itself.
IN_A_BATCH = ("enqueue", "fetch", "note_started", "report_progress", "complete", "postpone", "dead_letter")
AT_A_HEARTBEAT = ("extend_leases", "reclaim", "put_text")
#: Not sent by a worker: maintenance, which its caller repeats.
NOT_SENT = {"flush", "queue_counts"}
#: What the audit trail says of a job, by how it ends.
STORIES = {
    "completes": ["job.enqueued", "job.started", "job.completed"],
    "fails once": ["job.enqueued", "job.started", "job.retried", "job.started", "job.completed"],
    "fails": ["job.enqueued", "job.started", "job.failed", "dlq.added"],
}
each_moment = pytest.mark.parametrize("moment", Moment, ids=[moment.name.lower() for moment in Moment])


def fate(number: int) -> str:
    return {3: "fails once", 7: "fails"}.get(number % 10, "completes")


def behave(job: Work, ctx: JobContext[Any]) -> None:
    ctx.report_progress(0.5, "half")
    if fate(job.number) == "fails":
        raise PermanentError("no")
    if fate(job.number) == "fails once" and ctx.attempt == 1:
        raise ValueError("not yet")


@pytest.fixture
def lossy_engine(proxy: FaultProxy, cipher: Cipher) -> Iterator[Engine]:
    """A worker on the proxy, which notes each beginning in the audit trail."""
    # No lease ends by itself and no answer is given up, however slow the machine is.
    built = Engine(proxy.url, cipher, lease_seconds=600, redis_timeout_seconds=ANSWER_SECONDS)
    built.broker.add_middleware(Started())
    built.behaviour = behave
    yield built
    built.close()


@pytest.fixture
def lossy_producer(proxy: FaultProxy, cipher: Cipher) -> Producer:
    return Producer(connect(proxy.url, timeout_seconds=ANSWER_SECONDS), cipher=cipher, topology=TOPOLOGY)


def enqueue_batch(producer: Producer, count: int = 20) -> dict[str, int]:
    """A batch of jobs: id -> number."""
    accepted = producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(count)])
    assert all(job.is_new for job in accepted)
    return {job.job_id: number for number, job in enumerate(accepted)}


def assert_each_ended_once(client: redis.Redis, engine: Engine, jobs: dict[str, int]) -> None:
    """Each job has the one end that its number says, each attempt ran once, and all counts agree."""
    queue = dump_queue(client, KEYS)
    assert broken_promises(queue) == []
    told: dict[str, list[str]] = {job_id: [] for job_id in jobs}
    for entry in queue.audit():
        # A job that was lost with an answer had not begun.
        if entry["action"] != "job.lost":
            told[entry["job_id"]].append(entry["action"])
    assert told == {job_id: STORIES[fate(number)] for job_id, number in jobs.items()}
    runs = {(job_id, 1): 1 for job_id in jobs} | {
        (job_id, 2): 1 for job_id, number in jobs.items() if fate(number) == "fails once"
    }
    assert Counter(engine.runs) == runs


def end_leases_of_lost_jobs(client: redis.Redis, proxy: FaultProxy, engine: Engine) -> int:
    """As time does, once all others have ended: of the jobs in the lost answers; how many there were."""
    until(lambda: proxy.dropped_count and is_rest_ended(client, proxy), what="the end of all jobs but the lost ones")
    lost_count = State(client).client.zcard(KEYS.active)
    State(client).expire_leases()
    engine.broker.lease_keeper.beat()
    return lost_count


def is_rest_ended(client: redis.Redis, proxy: FaultProxy) -> bool:
    """Whether no job is left but those whose answer was lost."""
    counts = State(client).run(scripts.queue_counts(KEYS, heartbeat_ms=1))
    lost = b"".join(proxy.lost_answers)
    active = client.zrange(KEYS.active, 0, -1)
    return not counts.waiting + counts.delayed and all(job_id.encode() in lost for job_id in active)


def test_each_script_that_the_engine_sends_is_lost_in_a_test() -> None:
    sources = "\n".join(path.read_text() for path in Path(engine_package.__file__).parent.rglob("*.py"))
    sent = frozenset(re.findall(r"\bscripts\.([a-z_]+)\(", sources)) - NOT_SENT
    tested = {*IN_A_BATCH, *AT_A_HEARTBEAT, "mark_started", "note_stuck", "release", "ring"}
    assert not missing_cases(tested, sent, "tests/fault_points/test_engine_faults.py")


@each_moment
@pytest.mark.parametrize("script", IN_A_BATCH)
def test_each_job_of_a_batch_ends_once_whichever_call_or_answer_is_lost(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, lossy_producer: Producer, script: str, moment: Moment
) -> None:
    if script == "enqueue":
        proxy.arm(script, moment)
    jobs = enqueue_batch(lossy_producer)
    if script != "enqueue":
        proxy.arm(script, moment)

    with lossy_engine.working(queues={QUEUE}):
        if script == "fetch" and moment is not Moment.BEFORE:
            assert end_leases_of_lost_jobs(client, proxy, lossy_engine) > 0
        lossy_engine.broker.join(QUEUE, timeout=60_000)

    assert proxy.dropped_count == 1
    assert_each_ended_once(client, lossy_engine, jobs)


def test_each_job_ends_once_after_faults_of_chance(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, producer: Producer
) -> None:
    jobs = enqueue_batch(producer, scaled(60))
    lost_scripts = [script for script in IN_A_BATCH if script != "enqueue"]

    with lossy_engine.working(queues={QUEUE}):
        for _ in range(scaled(12)):
            proxy.arm(random.choice(lost_scripts), random.choice(list(Moment)), skip=random.randrange(3))
            until(lambda: proxy.dropped_count or is_rest_ended(client, proxy), what="a fault, or the end")
        proxy.disarm()
        until(lambda: is_rest_ended(client, proxy), what="the end of all jobs but the lost ones")
        State(client).expire_leases()
        lossy_engine.broker.lease_keeper.beat()
        lossy_engine.broker.join(QUEUE, timeout=60_000)

    assert_each_ended_once(client, lossy_engine, jobs)


@each_moment
@pytest.mark.parametrize("script", AT_A_HEARTBEAT)
def test_held_jobs_stay_held_and_a_dead_workers_come_back_whichever_call_of_a_heartbeat_is_lost(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, producer: Producer, script: str, moment: Moment
) -> None:
    """Two queues, so that the heartbeat sends pipelines."""
    jobs = enqueue_batch(producer)
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def hold(job: Work, ctx: JobContext[Any]) -> None:
        begun.release()
        may_end.wait(60)
        behave(job, ctx)

    lossy_engine.behaviour = hold
    with lossy_engine.working(threads=2):
        for _ in range(2):
            assert begun.acquire(timeout=ANSWER_SECONDS)
        State(client).fetch(2, lease_ms=ENDED)
        proxy.arm(script, moment)
        lossy_engine.broker.lease_keeper.beat()
        may_end.set()
        lossy_engine.broker.join(QUEUE, timeout=60_000)

    assert proxy.dropped_count == 1
    assert_each_ended_once(client, lossy_engine, jobs)
    assert Counter(entry["action"] for entry in dump_queue(client, KEYS).audit())["job.lost"] == 2


@each_moment
def test_a_job_that_outlived_a_worker_runs_once_though_the_word_that_it_begins_is_lost(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, producer: Producer, moment: Moment
) -> None:
    jobs, state = enqueue_batch(producer), State(client)
    state.fetch(3, lease_ms=ENDED)
    assert state.run(reclaim_call()).returned_count == 3
    proxy.arm("mark_started", moment)

    with lossy_engine.working(queues={QUEUE}):
        lossy_engine.broker.join(QUEUE, timeout=60_000)

    assert proxy.dropped_count == 1
    assert_each_ended_once(client, lossy_engine, jobs)


@each_moment
def test_jobs_end_once_though_the_token_is_lost_that_a_full_process_puts_back(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, producer: Producer, moment: Moment
) -> None:
    may_end, begun = threading.Event(), threading.Event()

    def hold(job: Work, ctx: JobContext[Any]) -> None:
        begun.set()
        may_end.wait(60)
        behave(job, ctx)

    lossy_engine.behaviour = hold
    with lossy_engine.working(threads=1, queues={QUEUE}):
        until(lambda: any(found["cmd"] == "blpop" for found in client.client_list()), what="the queue to be heard")
        jobs = enqueue_batch(producer, 1)
        assert begun.wait(60)
        proxy.arm("ring", moment)
        jobs |= dict.fromkeys(enqueue_batch(producer, 1), 1)
        until(lambda: proxy.dropped_count, what="the token to be put back")
        may_end.set()
        lossy_engine.broker.join(QUEUE, timeout=60_000)

    assert_each_ended_once(client, lossy_engine, jobs)


@each_moment
def test_jobs_given_back_at_a_shutdown_wait_once_each_and_another_worker_runs_them(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, producer: Producer, moment: Moment
) -> None:
    jobs, begun = enqueue_batch(producer), threading.Semaphore(0)

    def hold(job: Work, ctx: JobContext[Any]) -> None:
        begun.release()
        lossy_engine.broker.desk.is_closing.wait(60)
        behave(job, ctx)

    lossy_engine.behaviour = hold
    # As after a run of a millisecond: then it reads ahead.
    lossy_engine.broker.lane(QUEUE).observe(1.0)
    with lossy_engine.working(threads=2, queues={QUEUE}):
        for _ in range(2):
            assert begun.acquire(timeout=ANSWER_SECONDS)
        until(lambda: lossy_engine.broker.held_counts()[QUEUE] > 2, what="a job that no thread has begun")
        proxy.arm("release", moment)

    assert proxy.dropped_count == 1
    queue = dump_queue(client, KEYS)
    assert broken_promises(queue) == []
    assert not queue.scores(KEYS.active)
    lossy_engine.behaviour = behave
    with lossy_engine.working(queues={QUEUE}):
        lossy_engine.broker.join(QUEUE, timeout=60_000)
    assert_each_ended_once(client, lossy_engine, jobs)


@each_moment
def test_a_job_to_be_given_up_is_given_up_a_lease_later_when_the_answer_that_named_it_is_lost(
    client: redis.Redis, proxy: FaultProxy, lossy_engine: Engine, moment: Moment
) -> None:
    state = State(client)
    job_id = state.enqueue()
    for _ in range(2):
        (delivery,) = state.fetch(lease_ms=ENDED)
        state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=delivery.delivery))
        state.run(reclaim_call())
    (delivery,) = state.fetch(lease_ms=ENDED)
    state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=delivery.delivery))
    proxy.arm("reclaim", moment)

    with lossy_engine.working(queues={QUEUE}):
        lossy_engine.broker.lease_keeper.beat()
        if moment is not Moment.BEFORE:
            assert state.places(job_id) == ["active"]
            assert end_leases_of_lost_jobs(client, proxy, lossy_engine) == 1
        until(lambda: state.places(job_id) == ["failed"], what="the dead letter")

    assert proxy.dropped_count == 1
    assert lossy_engine.runs == []
    assert state.job(job_id)["error_type"] == "WorkerLost"
    assert broken_promises(dump_queue(client, KEYS)) == []


@each_moment
def test_a_stuck_job_is_noted_once_whether_the_call_or_its_answer_is_lost(
    client: redis.Redis, proxy: FaultProxy, cipher: Cipher, producer: Producer, moment: Moment
) -> None:
    engine = Engine(proxy.url, cipher, graces=Graces(0.02, 600), redis_timeout_seconds=ANSWER_SECONDS)
    may_end = threading.Event()
    engine.behaviour = lambda job, ctx: may_end.wait(60) and None
    engine.broker.actors["work"].options["time_limit"] = 20
    job_id = producer.enqueue(QUEUE, "work", {"number": 1}).job_id
    proxy.arm("note_stuck", moment)
    with engine.working(queues={QUEUE}):
        until(lambda: proxy.dropped_count, what="the lost note")
        until(lambda: client.hexists(KEYS.job(job_id), "stuck_at_ms"), what="the note")
        may_end.set()
        engine.broker.join(QUEUE, timeout=60_000)
    engine.close()

    assert Counter(entry["action"] for entry in dump_queue(client, KEYS).audit())["job.stuck"] == 1
    assert broken_promises(dump_queue(client, KEYS)) == []
