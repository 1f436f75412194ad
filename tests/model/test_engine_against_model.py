"""The engine's scripts and the reference model of them, played side by side and compared after each step.

Time is virtual. Each example plays a random subset of the rules (Hypothesis switches rules off per example), so that
rare combinations come up. `make test` plays small numbers, `make soak` large ones (TEKNAV_TEST_SCALE). A failing run
prints its seed; TEKNAV_TEST_SEED plays it again.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as play

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Delivery, NewJob
from tests.model import differences as differ
from tests.model.differences import compare, expect
from tests.model.engine_model import EngineModel
from tests.model.records import Limits
from tests.support.queue_dump import dump_queue
from tests.support.scale import scaled
from tests.support.state import KEYS, State, failure, run_of
from tests.support.virtual_time import Clock

LEASE_MS = 30_000
KEPT = 3
LOST_LIMIT = 3
HOUR_MS = 3_600_000
#: Between a minute and an hour, so that keys expire in play.
IDEMPOTENCY_MS = 600_000

#: Drawn whether or not there is anything to pick from: how much is drawn must not hang on the state.
picks = st.integers(0, 999)
causes = st.sampled_from(["ValueError", "KeyError"])
T = TypeVar("T")
priorities = st.sampled_from([-9, -1, 1, 9])
workers = st.sampled_from(["w:1", "w:2"])
# Two in a second: what a window that begins anew lets through at its edge is seen after four jobs.
rates = st.sampled_from([(0, 0), (0, 0), (1, HOUR_MS), (2, 10_000), (2, 1_000), (2, 1_000)])


def _choose(pick: int, likely: list[T], all_of_them: list[T]) -> T:
    where = likely if likely and pick % 4 else all_of_them
    return where[pick // 4 % len(where)]


def there_is(*states: str) -> Callable[[EngineAgainstModel], bool]:
    """Whether a rule has something to act on; those that have not would use up most steps."""
    return lambda self: any(job.state in states for job in self.model.jobs.values())


has_work = there_is("active", "waiting")


class EngineAgainstModel(RuleBasedStateMachine):
    client: ClassVar[redis.Redis]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.state = State(self.client)
        self.model = EngineModel(self.clock.now_ms, idempotency_ms=IDEMPOTENCY_MS, kept=KEPT, lost_limit=LOST_LIMIT)
        self.limits = Limits()
        self.ids: list[str] = ["no such job"]
        #: Every hand-over there was, so that those of the past are tried too.
        self.deliveries: list[Delivery] = []

    @initialize(concurrency=st.sampled_from([0, 0, 2]), rate=rates)
    def topology(self, concurrency: int, rate: tuple[int, int]) -> None:
        self.limits = Limits(concurrency, *rate)

    # Producers -----------------------------------------------------------------------------------

    # Several rules, since most others need jobs, and each example has some rules switched off.

    @rule(count=st.integers(1, 5))
    def enqueue(self, count: int) -> None:
        self._enqueue([self._job() for _ in range(count)])

    @rule(priority=priorities, count=st.integers(1, 2))
    def enqueue_with_priority(self, priority: int, count: int) -> None:
        self._enqueue([self._job(priority=priority) for _ in range(count)])

    @rule(priority=st.sampled_from([0, 0, 1]), delay_ms=st.sampled_from([1, 1_000, 60_000]), count=st.integers(1, 2))
    def enqueue_with_delay(self, priority: int, delay_ms: int, count: int) -> None:
        self._enqueue([self._job(priority=priority, delay_ms=delay_ms) for _ in range(count)])

    @rule(key=st.sampled_from(["a", "b"]), name=st.sampled_from(["work", "poison"]), number=st.integers(1, 2))
    def enqueue_with_key(self, key: str, name: str, number: int) -> None:
        self._enqueue([self._job(name=name, payload=f'{{"number":{number}}}', idempotency_key=key)])

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks)
    def enqueue_again(self, pick: int) -> None:
        """As a producer does that had no answer."""
        job = self.model.jobs.get(self._known(pick))
        if job is not None:
            self._enqueue([NewJob(id=job.id, name=job.name, payload=job.request[1], idempotency_key=job.key)])

    def _enqueue(self, jobs: list[NewJob]) -> None:
        call = scripts.enqueue(KEYS, idempotency_ms=IDEMPOTENCY_MS, actor="test", jobs=jobs)
        for job, accepted in zip(jobs, self.state.run(call), strict=True):
            intended = self.model.enqueue(
                job.id, job.name, job.payload, key=job.idempotency_key, delay_ms=job.delay_ms, priority=job.priority
            )
            found = ("accepted" if accepted.is_new else "first", accepted.job_id)
            if isinstance(accepted, scripts.KeyInUse) and (accepted.first_name, accepted.first_payload) != (
                job.name,
                job.payload,
            ):
                found = ("conflict", accepted.job_id)
            expect(differ.KeyDiffers, "enqueue", intended, found)

    def _job(self, **facts: Any) -> NewJob:
        # Ids are in no order, so that nothing can lean on theirs.
        number = len(self.ids)
        self.ids.append(f"{number * 7_919 % 1_000:03}-{number}")
        return NewJob(**{"id": self.ids[-1], "name": "work", "payload": '{"number":1}', **facts})

    # Workers -------------------------------------------------------------------------------------

    @precondition(there_is("waiting", "delayed"))
    @rule(worker=workers, count=st.integers(2, 5))
    def fetch(self, worker: str, count: int) -> None:
        self._fetch(worker, count, self.limits)

    @precondition(there_is("waiting", "delayed"))
    @rule()
    def fetch_one(self) -> None:
        self._fetch("w:1", 1, self.limits)

    @precondition(there_is("waiting"))
    @rule(steps=st.lists(st.tuples(st.integers(1, 2), st.sampled_from([500, 400, 600, 1])), min_size=3, max_size=6))
    def keep_fetching(self, steps: list[tuple[int, int]]) -> None:
        """As a worker does that is held back by a limit only."""
        for count, ms in steps:
            self._fetch("w:1", count, self.limits)
            self.time_passes(ms)

    def _fetch(self, worker: str, count: int, limits: Limits) -> None:
        call = scripts.fetch(
            KEYS, count=count, lease_ms=LEASE_MS, worker=worker, global_concurrency=limits.global_concurrency,
            rate_count=limits.rate_count, rate_period_ms=limits.rate_period_ms,
        )  # fmt: skip
        fetched = self.state.run(call)
        self.deliveries += fetched.deliveries
        look_again_ms, jobs = self.model.fetch(worker, count, LEASE_MS, limits)
        expect(differ.HandedOutDiffers, "how many are handed out", len(jobs), len(fetched.deliveries))
        expect(differ.OrderDiffers, "order", [job.id for job in jobs], [d.id for d in fetched.deliveries])
        expect(differ.HandedOutDiffers, "when to look again", look_again_ms, fetched.look_again_ms)
        intended = [(job.delivery, job.name, job.payload, job.attempts, job.lost, job.enqueued_at) for job in jobs]
        found = [(d.delivery, d.name, d.payload, d.attempts, d.lost, d.enqueued_at_ms) for d in fetched.deliveries]
        expect(differ.AnswerDiffers, "deliveries", intended, found)

    @precondition(lambda self: self.model.token)
    @rule()
    def wake_up(self) -> None:
        self.client.lpop(KEYS.wake)
        self.model.token = False

    @precondition(has_work)
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True), wakes=st.booleans())
    def complete(self, which: list[int], wakes: bool) -> None:
        held = self._delivered(which)
        call = scripts.complete(
            KEYS, worker="w:1", completed_kept=KEPT, wakes=wakes, runs=[(run_of(delivery), "") for delivery in held]
        )
        runs = [(delivery.id, delivery.delivery) for delivery in held]
        intended = self.model.complete("w:1", runs, duration_ms=5.0, wakes=wakes)
        expect(differ.AnswerDiffers, "complete", intended, self.state.run(call) if held else [])

    @precondition(has_work)
    @rule(
        pick=picks,
        delay_ms=st.sampled_from([0, 1, 1_000, 60_000]),
        uses_attempt=st.booleans(),
        cause=causes,
    )
    def postpone(self, pick: int, delay_ms: int, uses_attempt: bool, cause: str) -> None:
        for held in self._delivered([pick]):
            call = scripts.postpone(
                KEYS, worker="w:1", run=run_of(held), failure=failure(cause), delay_ms=delay_ms,
                uses_attempt=uses_attempt,
            )  # fmt: skip
            intended = self.model.postpone(
                "w:1", held.id, held.delivery, delay_ms=delay_ms, uses_attempt=uses_attempt, cause=cause,
                duration_ms=5.0,
            )  # fmt: skip
            expect(differ.AnswerDiffers, "postpone", intended, self.state.run(call))

    @rule(priority=st.sampled_from([0, 0, -1, 9]), cause=causes)
    def a_job_fails_for_good(self, priority: int, cause: str) -> None:
        self._enqueue([self._job(priority=priority)])
        self._fetch("w:1", 5, self.limits)
        self._give_up(self.deliveries[-1:], cause)

    @precondition(has_work)
    @rule(pick=picks, cause=causes)
    def dead_letter(self, pick: int, cause: str) -> None:
        self._give_up(self._delivered([pick]), cause)

    def _give_up(self, deliveries: list[Delivery], cause: str) -> None:
        for held in deliveries:
            call = scripts.dead_letter(KEYS, worker="w:1", run=run_of(held), failure=failure(cause), failed_kept=KEPT)
            intended = self.model.dead_letter("w:1", held.id, held.delivery, cause=cause, duration_ms=5.0)
            expect(differ.AnswerDiffers, "dead_letter", intended, self.state.run(call))

    @precondition(has_work)
    @rule(worker=workers, which=st.lists(picks, max_size=3, unique=True))
    def extend_leases(self, worker: str, which: list[int]) -> None:
        held = [(delivery.id, delivery.delivery) for delivery in self._delivered(which)]
        call = scripts.extend_leases(KEYS, worker=worker, lease_ms=LEASE_MS, held=held)
        expect(
            differ.AnswerDiffers,
            "extend_leases",
            self.model.extend_leases(worker, held, LEASE_MS),
            self.state.run(call),
        )

    @precondition(there_is("active"))
    @rule(count=st.sampled_from([1, 100]), is_late=st.booleans())
    def reclaim(self, count: int, is_late: bool) -> None:
        """Somebody looks for leases that ran out, and buries what it is handed."""
        if is_late:
            self.time_passes(LEASE_MS)
        call = scripts.reclaim(KEYS, count=count, lost_limit=LOST_LIMIT, lease_ms=LEASE_MS, worker="keeper")
        reclaimed = self.state.run(call)
        intended = self.model.reclaim("keeper", count, LEASE_MS)
        expect(differ.AnswerDiffers, "reclaim", intended, (reclaimed.returned_count, reclaimed.doomed))
        for job_id, delivery, _ in reclaimed.doomed:
            lost = scripts.Run(job_id, delivery, 0, 0.0, "")
            call = scripts.dead_letter(KEYS, worker="keeper", run=lost, failure=failure("WorkerLost"), failed_kept=KEPT)
            buried = self.model.dead_letter("keeper", job_id, delivery, cause="WorkerLost", duration_ms=0.0, bucket="")
            expect(differ.AnswerDiffers, "dead_letter", buried, self.state.run(call))

    @precondition(has_work)
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True))
    def release(self, which: list[int]) -> None:
        held = [(delivery.id, delivery.delivery) for delivery in self._delivered(which)]
        call = scripts.release(KEYS, held=reversed(held))
        expect(differ.AnswerDiffers, "release", self.model.release(held), self.state.run(call))

    @precondition(has_work)
    @rule(pick=picks)
    def mark_started(self, pick: int) -> None:
        for held in self._delivered([pick]):
            call = scripts.mark_started(KEYS, job_id=held.id, delivery=held.delivery)
            intended = self.model.mark_started(held.id, held.delivery)
            expect(differ.AnswerDiffers, "mark_started", intended, self.state.run(call))

    @precondition(has_work)
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True))
    def note_started(self, which: list[int]) -> None:
        begun = [(delivery.id, delivery.delivery) for delivery in self._delivered(which)]
        call = scripts.note_started(KEYS, worker="w:1", begun=begun)
        expect(differ.AnswerDiffers, "note_started", self.model.note_started("w:1", begun), self.state.run(call))

    def _delivered(self, which: list[int]) -> list[Delivery]:
        """Some of the newest hand-overs: three in four are still held, others have ended or gone to another.

        Where nothing is held, something is fetched: so most plays come to the ends that matter.
        """
        if not there_is("active")(self):
            self._fetch("w:1", 2, self.limits)
        recent = self.deliveries[-8:]
        held = [found for found in recent if self.model.holds(found.id, found.delivery)]
        chosen = [_choose(pick, held, recent) for pick in which] if recent else []
        return list({(found.id, found.delivery): found for found in chosen}.values())

    # Operators -----------------------------------------------------------------------------------

    def _known(self, pick: int, *states: str) -> str:
        """A job: three in four are in one of the states, where there is one."""
        fitting = [job_id for job_id in self.ids[1:] if self.model.state_of(job_id) in states]
        return _choose(pick, fitting, self.ids)

    @precondition(there_is("waiting", "delayed"))
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job_id = self._known(pick, "waiting", "delayed")
        call = scripts.cancel(KEYS, job_id=job_id, actor="owner", cancelled_kept=KEPT)
        expect(differ.AnswerDiffers, "cancel", self.model.cancel(job_id, "owner"), self.state.run(call))

    @precondition(there_is("delayed"))
    @rule(pick=picks)
    def promote(self, pick: int) -> None:
        job_id = self._known(pick, "delayed")
        call = scripts.promote(KEYS, job_id=job_id, actor="owner")
        expect(differ.AnswerDiffers, "promote", self.model.promote(job_id, "owner"), self.state.run(call))

    @precondition(there_is("failed"))
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True), payload=st.sampled_from(["", '{"number":3}']))
    def replay(self, which: list[int], payload: str) -> None:
        job_ids = list(dict.fromkeys(self._known(pick, "failed") for pick in which))
        failures = [(job_id, None) for job_id in job_ids]
        call = scripts.replay_dead_letters(KEYS, actor="owner", failures=failures, payload=payload)
        expect(differ.AnswerDiffers, "replay", self.model.replay(job_ids, "owner", payload), self.state.run(call))

    @precondition(there_is("failed"))
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True))
    def delete(self, which: list[int]) -> None:
        self._delete(list(dict.fromkeys(self._known(pick, "failed") for pick in which)), "dlq.deleted")

    @precondition(lambda self: self.model.letters)
    @rule()
    def purge(self) -> None:
        self._delete(list(self.model.letters), "dlq.purged")

    def _delete(self, job_ids: list[str], action: str) -> None:
        call = scripts.delete_dead_letters(KEYS, actor="owner", action=action, job_ids=job_ids)
        expect(differ.AnswerDiffers, action, self.model.delete_letters(job_ids, "owner", action), self.state.run(call))

    @precondition(lambda self: len(self.model.waiting()) > 3)
    @rule()
    def flush(self) -> None:
        call = scripts.flush(KEYS, actor="owner", count=500)
        expect(differ.AnswerDiffers, "flush", self.model.flush("owner"), self.state.run(call))

    @rule(is_paused=st.booleans())
    def pause_or_resume(self, is_paused: bool) -> None:
        action = "queue.paused" if is_paused else "queue.resumed"
        self._set_control(action, {"paused": "1772366400000" if is_paused else ""})

    @rule(global_concurrency=st.sampled_from(["", "1", "3"]), rate=rates)
    def configure(self, global_concurrency: str, rate: tuple[int, int]) -> None:
        count, period_ms = (str(number or "") for number in rate)
        fields = {"global_concurrency": global_concurrency, "rate_count": count, "rate_period_ms": period_ms}
        self._set_control("queue.configured", fields)

    def _set_control(self, action: str, fields: dict[str, str]) -> None:
        call = scripts.set_control(KEYS, actor="owner", action=action, fields=fields)
        intended = self.model.set_control("owner", action, fields)
        expect(differ.AnswerDiffers, "set_control", intended, self.state.run(call))

    # Time ----------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 500, 500, 999, 1_000, 10_000, 60_000, HOUR_MS, 25 * HOUR_MS]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms / 1000)
        self.model.advance(ms)

    @invariant()
    def the_queue_is_what_the_model_says(self) -> None:
        counts = self.state.run(scripts.queue_counts(KEYS, heartbeat_ms=60_000))
        compare(self.model, dump_queue(self.client, KEYS), counts, KEYS)

    def teardown(self) -> None:
        """However it went: what waits is handed out in the model's order."""
        fields = dict.fromkeys(self.model.control, "")
        self._set_control("queue.configured", fields)
        self._fetch("w:1", 1_000, Limits())


def test_the_engine_does_what_its_model_does(client: redis.Redis, clock: Clock) -> None:
    EngineAgainstModel.client = client
    number = int(os.environ.get("TEKNAV_TEST_SEED") or random.SystemRandom().randrange(10**9))
    sys.stdout.write(f"seed: TEKNAV_TEST_SEED={number}\n")
    play(
        seed(number)(EngineAgainstModel),
        settings=settings(
            max_examples=scaled(50),
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
