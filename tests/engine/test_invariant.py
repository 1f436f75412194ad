"""The promise, as a property: whatever dies when, every accepted job is in exactly one place.

Hypothesis plays producers, workers, operators and death against the real scripts on a real server. A
worker dies by forgetting all it held, before or after any of its calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from teknav_ops.jobs.states import MOVES, JobState
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Call, Delivery
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.state import KEYS, State

PLACE_OF = {
    "waiting": ("waiting", "prioritized"),
    "active": ("active",),
    "delayed": ("delayed",),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}

deaths = Counter[str]()
death = st.sampled_from(["no", "no", "before", "after"])
#: Drawn whether or not there is anything to pick from: how much is drawn must not hang on the server's state.
picks = st.integers(0, 999)


class Died(Exception):
    """The worker was killed at this point."""


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        client = SERVER.client()
        client.flushall()
        self.state = State(client)
        self.accepted: set[str] = set()
        self.workers: dict[int, list[Delivery]] = {0: [], 1: []}
        self.effects = Counter[str]()
        self.recorded: set[str] = set()
        self.last_state: dict[str, str] = {}

    def call(self, call: Call[Any], dies: str, worker: int) -> Any:
        """Send a call as a worker that may be killed before or after."""
        if dies == "before":
            self.kill(worker, call.script.name)
        answer = self.state.run(call)
        if dies == "after":
            self.kill(worker, call.script.name)
        return answer

    def kill(self, worker: int, during: str) -> None:
        deaths[during] += 1
        self.workers[worker] = []
        raise Died

    @initialize()
    def first_job(self) -> None:
        self.accepted.add(self.state.enqueue())

    @rule(priority=st.integers(-1, 1), delayed=st.booleans(), key=st.sampled_from(["", "", "a", "b"]))
    def enqueue(self, priority: int, delayed: bool, key: str) -> None:
        job_id = self.state.enqueue(priority=priority, delay_ms=60_000 if delayed else 0, idempotency_key=key)
        self.accepted.add(job_id)

    @rule(worker=st.sampled_from([0, 1]), count=st.integers(1, 3), dies=death)
    def fetch(self, worker: int, count: int, dies: str) -> None:
        self.workers[worker] += self.guarded(
            lambda: self.call(self.fetching(worker, count), dies, worker).deliveries, []
        )

    def fetching(self, worker: int, count: int) -> Call[Any]:
        return scripts.fetch(
            KEYS,
            count=count,
            lease_ms=60_000,
            worker=f"w:{worker}",
            global_concurrency=0,
            rate_count=0,
            rate_period_ms=0,
        )

    @rule(worker=st.sampled_from([0, 1]), dies=death, pick=picks)
    def succeed(self, worker: int, dies: str, pick: int) -> None:
        delivery = self.take(worker, pick)
        if delivery is None:
            return
        if delivery.lost and not self.state.run(
            scripts.mark_started(KEYS, job_id=delivery.id, delivery=delivery.delivery)
        ):
            return
        if delivery.id not in self.recorded:
            # One transaction in SQL: the effect and its record. What follows may be lost; this is not.
            self.effects[delivery.id] += 1
            self.recorded.add(delivery.id)
        runs = [(scripts.Run(delivery.id, delivery.delivery, 1, 1.0, "b1"), "")]
        call = scripts.complete(KEYS, worker="w", completed_kept=1_000, wakes=False, runs=runs)
        self.guarded(lambda: self.call(call, dies, worker), None)

    @rule(worker=st.sampled_from([0, 1]), dies=death, how=st.sampled_from(["retry", "snooze", "give up"]),
          pick=picks)  # fmt: skip
    def fail(self, worker: int, dies: str, how: str, pick: int) -> None:
        delivery = self.take(worker, pick)
        if delivery is None:
            return
        run = scripts.Run(delivery.id, delivery.delivery, 1, 1.0, "b1")
        failure = scripts.Failure("E", "e", "s", "f", "{}")
        if how == "give up":
            call = scripts.dead_letter(KEYS, worker="w", run=run, failure=failure, failed_kept=1_000)
        else:
            call = scripts.postpone(
                KEYS, worker="w", run=run, failure=failure, delay_ms=60_000, uses_attempt=how == "retry"
            )
        self.guarded(lambda: self.call(call, dies, worker), None)

    @rule(worker=st.sampled_from([0, 1]))
    def die(self, worker: int) -> None:
        deaths["idle"] += 1
        self.workers[worker] = []

    @rule(worker=st.sampled_from([0, 1]))
    def shut_down(self, worker: int) -> None:
        held = [(delivery.id, delivery.delivery) for delivery in self.workers[worker]]
        self.workers[worker] = []
        self.state.run(scripts.release(KEYS, held=reversed(held)))

    @rule()
    def time_passes(self) -> None:
        """Every lease runs out, held or not; what is delayed comes due; somebody reclaims."""
        self.state.expire_leases()
        for job_id in self.state.client.zrange(KEYS.delayed, 0, -1):
            self.state.client.zadd(KEYS.delayed, {job_id: 1})
        reclaimed = self.state.run(scripts.reclaim(KEYS, count=100, lost_limit=3, lease_ms=1, worker="keeper"))
        for job_id, delivery, _ in reclaimed.doomed:
            run = scripts.Run(job_id, delivery, 0, 0.0, "")
            failure = scripts.Failure("WorkerLost", "e", "s", "f", "{}")
            self.state.run(scripts.dead_letter(KEYS, worker="k", run=run, failure=failure, failed_kept=1_000))

    @precondition(lambda self: self.last_state)
    @rule(pick=picks, what=st.sampled_from(["replay", "cancel", "promote", "delete"]))
    def operate(self, pick: int, what: str) -> None:
        """An operator acts on any job, whatever its state; twice, as impatient people do."""
        known = sorted(self.last_state)
        job_id = known[pick % len(known)]
        for _ in range(2):
            if what == "replay":
                self.state.run(scripts.replay_dead_letters(KEYS, actor="o", failures=[(job_id, None)]))
            elif what == "cancel":
                self.state.run(scripts.cancel(KEYS, job_id=job_id, actor="o", cancelled_kept=1_000))
            elif what == "promote":
                self.state.run(scripts.promote(KEYS, job_id=job_id, actor="o"))
            else:
                call = scripts.delete_dead_letters(KEYS, actor="o", action="dlq.deleted", failures=[(job_id, None)])
                self.state.run(call)

    @invariant()
    def every_accepted_job_is_in_exactly_the_place_its_record_names(self) -> None:
        for job_id in self.accepted:
            job = self.state.job(job_id)
            (place,) = self.state.places(job_id)
            assert place in PLACE_OF[job["state"]], (job, place)
            self.last_state[job_id] = job["state"]

    @invariant()
    def every_dead_letter_is_a_failed_job_filed_once_under_its_cause(self) -> None:
        letters = self.state.client.zrange(KEYS.dlq, 0, -1)
        assert {self.state.job(job_id)["state"] for job_id in letters} <= {"failed"}
        assert sum(map(int, self.state.client.hgetall(KEYS.dlq_groups).values())) == len(letters)

    @invariant()
    def no_completed_job_lacks_its_effect_and_none_has_it_recorded_twice(self) -> None:
        for job_id, state in self.last_state.items():
            if state == "completed":
                assert self.effects[job_id] >= 1
            assert (job_id in self.recorded) == (self.effects[job_id] > 0)

    def teardown(self) -> None:
        """However it went: healthy workers bring every job to an end."""
        for _ in range(200):
            self.time_passes()
            deliveries = self.state.fetch(50)
            for delivery in deliveries:
                if delivery.id not in self.recorded:
                    self.effects[delivery.id] += 1
                    self.recorded.add(delivery.id)
            self.state.complete(*deliveries)
            self.every_accepted_job_is_in_exactly_the_place_its_record_names()
            if set(self.last_state.values()) <= {"completed", "failed", "cancelled"}:
                break
        assert set(self.last_state.values()) <= {"completed", "failed", "cancelled"}
        self.state.client.close()

    def take(self, worker: int, pick: int) -> Delivery | None:
        """A job in the worker's hands; one with empty hands fetches, so that most plays reach the ends that matter."""
        held = self.workers[worker]
        if not held:
            held += self.state.run(self.fetching(worker, 3)).deliveries
        return held.pop(pick % len(held)) if held else None

    def guarded(self, act: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return act()
        except Died:
            return otherwise


SERVER: RedisServer


@pytest.mark.timeout(300)
def test_deaths_at_any_moment_lose_no_job_and_double_none(redis_server: RedisServer) -> None:
    global SERVER
    SERVER = redis_server
    deaths.clear()
    play = settings(
        max_examples=scaled(6),
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )

    while deaths.total() < scaled(60):
        run_state_machine_as_test(Life, settings=play)


ENDS: dict[str, Callable[[Life, str], None]] = {
    "fetch": lambda life, dies: life.fetch(0, 1, dies),
    "complete": lambda life, dies: life.succeed(0, dies, 0),
    "postpone": lambda life, dies: life.fail(0, dies, "retry", 0),
    "dead_letter": lambda life, dies: life.fail(0, dies, "give up", 0),
}


@pytest.mark.parametrize("dies", ["before", "after"])
@pytest.mark.parametrize("moment", ENDS)
def test_a_death_at_each_end_of_a_run_loses_nothing(redis_server: RedisServer, moment: str, dies: str) -> None:
    """What the plays above reach by chance, reached for certain."""
    global SERVER
    SERVER = redis_server
    deaths.clear()
    life = Life()
    life.first_job()

    ENDS[moment](life, dies)

    assert deaths == {moment: 1}
    life.every_accepted_job_is_in_exactly_the_place_its_record_names()
    life.every_dead_letter_is_a_failed_job_filed_once_under_its_cause()
    life.no_completed_job_lacks_its_effect_and_none_has_it_recorded_twice()
    life.teardown()


def test_every_move_of_the_table_names_its_scripts_and_every_final_state_is_left_only_by_replay() -> None:
    assert {name for names in MOVES.values() for name in names} <= {
        "enqueue", "fetch", "promote", "complete", "postpone", "dead_letter", "release", "reclaim",
        "replay_dead_letters", "cancel",
    }  # fmt: skip
    leaving = {before for before, _ in MOVES if before in (JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED)}
    assert leaving == {JobState.FAILED}
