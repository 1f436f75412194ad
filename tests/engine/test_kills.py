"""What must survive: SIGKILL of a worker in every phase of a job."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.engine.middleware import lifecycle
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.scripts import Call, ScriptRunner
from teknav_ops.storage.database import Database
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.workers import Workers


@pytest.fixture
def workers(redis_server: RedisServer, tmp_path: Path) -> Iterator[Workers]:
    fleet = Workers(redis_server.url, tmp_path, SECRET_KEY)
    yield fleet
    fleet.stop_all()


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


def is_settled(queries: JobQueries) -> bool:
    counts = queries.counts("test:work")
    return counts.waiting + counts.active + counts.delayed == 0


def test_a_worker_that_is_told_twice_to_stop_gives_back_what_it_runs(
    redis_server: RedisServer, tmp_path: Path, producer: Producer, queries: JobQueries, state: State
) -> None:
    # No lease ends by itself.
    workers = Workers(redis_server.url, tmp_path, SECRET_KEY, lease_seconds=600)
    ids = [producer.enqueue("test:work", "work", {"number": n, "seconds": 60}).job_id for n in range(3)]
    master = workers.start(threads=2)
    until(lambda: queries.counts("test:work").active >= 2, what="two running jobs")

    until(lambda: master.poll() is not None or master.send_signal(signal.SIGTERM), what="the end")

    counts = queries.counts("test:work")
    assert (counts.waiting, counts.active) == (3, 0)
    assert not any("lost" in state.job(job_id) for job_id in ids)
    workers.stop_all()


def test_jobs_that_a_fetch_brings_while_the_process_ends_are_given_back(
    engine: Engine, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has handed them out already; the process does not know of them yet."""
    run, handed_out, is_ending = ScriptRunner.run, threading.Event(), threading.Event()

    def run_and_wait(runner: ScriptRunner, call: Call[Any]) -> Any:
        answer = run(runner, call)
        if call.script.name == "fetch" and answer.deliveries:
            handed_out.set()
            is_ending.wait(ANSWER_SECONDS)
        return answer

    monkeypatch.setattr(ScriptRunner, "run", run_and_wait)
    monkeypatch.setattr(lifecycle, "_FLUSH_SECONDS", ANSWER_SECONDS)
    for number in range(3):
        producer.enqueue("test:work", "work", {"number": number})
    with engine.working():
        assert handed_out.wait(ANSWER_SECONDS)
        ending = threading.Thread(target=lifecycle._give_back_what_is_left, args=(engine.broker,))
        ending.start()
        until(engine.broker.desk.is_closing.is_set, what="the end's beginning")
        is_ending.set()
        ending.join(ANSWER_SECONDS)
        counts = queries.counts("test:work")

    # One may have run in the meantime.
    assert (counts.active, counts.waiting + counts.completed) == (0, 3)


def test_a_worker_that_hears_both_signals_to_stop_gives_back_what_it_runs(
    redis_server: RedisServer, tmp_path: Path, producer: Producer, queries: JobQueries, state: State
) -> None:
    """A terminal that closes and a supervisor may both ask: SIGHUP counts as SIGTERM does."""
    workers = Workers(redis_server.url, tmp_path, SECRET_KEY, lease_seconds=600)
    ids = [producer.enqueue("test:work", "work", {"number": n, "seconds": 60}).job_id for n in range(3)]
    workers.start(threads=2)
    until(lambda: queries.counts("test:work").active >= 2, what="two running jobs")
    (worker,) = {int(state.job(job_id)["worker"].rpartition(":")[2]) for job_id in ids if "worker" in state.job(job_id)}
    asked = itertools.cycle([signal.SIGTERM, signal.SIGHUP])

    def is_gone() -> bool:
        try:
            # Many in a moment: one must come while it gives back.
            for number in itertools.islice(asked, 200):
                os.kill(worker, number)
        except ProcessLookupError:
            return True
        return "zombie" in Path(f"/proc/{worker}/status").read_text()

    until(is_gone, what="the end")

    counts = queries.counts("test:work")
    assert (counts.waiting, counts.active) == (3, 0), workers.logs()
    assert not any("lost" in state.job(job_id) for job_id in ids)
    workers.stop_all()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("script", ["fetch", "complete", "postpone", "dead_letter", "extend_leases"])
def test_a_worker_killed_around_a_state_change_loses_and_doubles_nothing(
    workers: Workers, producer: Producer, queries: JobQueries, moment: str, script: str
) -> None:
    data = [{"number": n, "fail_times": (0, 1, 9)[n % 3], "seconds": 0.05} for n in range(30)]
    ids = [accepted.job_id for accepted in producer.enqueue_many("test:work", "work", data)]

    workers.start(crash=f"{moment}:{script}")
    until((workers.folder / "crashed").exists, what="the crash")
    workers.start()
    until(lambda: is_settled(queries), what="every job's end")

    counts = queries.counts("test:work")
    assert (counts.completed, counts.failed, counts.dlq) == (20, 10, 10), workers.logs()
    succeeded = {job_id for job_id, entry in zip(ids, data, strict=True) if entry["fail_times"] < 3}
    assert workers.recorded() == succeeded
    assert workers.happened() == dict.fromkeys(succeeded, 1)


def test_a_job_that_kills_its_worker_is_dead_lettered_after_three_and_others_go_on(
    workers: Workers, producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    poison = producer.enqueue("test:work", "poison", {}).job_id
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(40)])

    for deaths in (1, 2, 3):
        master = workers.start(threads=2)
        until(lambda deaths=deaths: workers.happened().get(poison) == deaths, what="the worker's death")
        # Dramatiq's master ends with its worker; but not with one that dies while it reports that it has booted, as
        # this one may: it then waits for a lock that nobody gives back.
        workers.kill(master)
    workers.start()
    until(lambda: is_settled(queries), what="every job's end")

    record = queries.get("test:work", poison)
    assert (record.state, record.error_type) == ("failed", "WorkerLost")
    assert queries.counts("test:work").completed == 40
    assert queries.counts("test:work").dlq == 1


def _replay_and_die(redis_url: str, folder: str, replay_id: str, moment: str) -> None:
    """An operator's process, killed around the script that replays its second chunk."""
    database = Database.open(f"sqlite:///{folder}/records.sqlite3")
    client = connect(redis_url)
    control = Control(
        client, Operator("sara", Role.OWNER), OperatorLog(database), cipher=Cipher([]), topology=TOPOLOGY
    )  # fmt: skip
    run, calls = ScriptRunner.run, itertools.count()

    def dying(runner: ScriptRunner, call: Any) -> Any:
        is_second = call.script.name == "replay_dead_letters" and next(calls) == 1
        if is_second and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = run(runner, call)
        if is_second and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    ScriptRunner.run = dying  # type: ignore[method-assign, assignment]
    control.run_replay("test:work", replay_id, rate_per_second=5)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_operator_killed_while_replaying_loses_and_doubles_nothing(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path, moment: str
) -> None:
    state = State(client)
    dead = [state.dead() for _ in range(20)]
    migrate(f"sqlite:///{tmp_path}/records.sqlite3")
    records = Database.open(f"sqlite:///{tmp_path}/records.sqlite3")
    control = Control(
        client, Operator("ali", Role.OWNER), OperatorLog(records), cipher=Cipher([]), topology=TOPOLOGY  # type: ignore[arg-type]
    )  # fmt: skip
    plan = control.preview_replay("test:work", DeadLetterFilter(), limit=100)
    process = warm_python.start_function(_replay_and_die, redis_server.url, str(tmp_path), plan.id, moment)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL

    # Its lease runs out; the test need not wait for it.
    client.hset(KEYS.replay(plan.id), "runner_until_ms", 1)

    done = control.run_replay("test:work", plan.id, rate_per_second=1_000)

    assert (done.state, done.done_count, done.replayed_count) == ("finished", 20, 20)
    assert all(state.places(job_id) == ["waiting"] for job_id in dead)
    assert {state.job(job_id)["replays"] for job_id in dead} == {"1"}
    records.dispose()
