"""The engine's scripts and the reference model of them, played side by side and compared after each step.

Time is virtual. Each example plays a random subset of the rules (Hypothesis switches rules off per example), so that
rare combinations come up. `make test` plays small numbers, `make soak` large ones (TEKNAV_TEST_SCALE). A failing run
prints its seed; TEKNAV_TEST_SEED plays it again.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Delivery, NewJob
from tests.model import differences as differ
from tests.model.differences import compare, compare_batches, expect
from tests.model.played_queue import play
from tests.model.records import Limits
from tests.model.replay_rules import RUNNER_LEASE_MS, ReplayRules
from tests.model.stage import (
    IDEMPOTENCY_MS,
    KEPT,
    LEASE_MS,
    LOST_LIMIT,
    Stage,
    causes,
    choose,
    has_work,
    picks,
    priorities,
    rates,
    there_is,
    workers,
)
from tests.support.queue_dump import dump_queue
from tests.support.scale import scaled
from tests.support.script_list import missing_cases, scripts_that_write
from tests.support.state import KEYS, failure, run_of
from tests.support.virtual_time import Clock

#: Scripts that write and are not played, since they know no queue.
NOT_PLAYED = {
    "lead": "the lease of a role",
    "list_session": "the sessions of a user",
    "mark_session": "a session",
    "open_session": "a session",
    "publish_stats": "figures for pages, made from what was counted",
    "put_newest": "figures for pages, likewise",
    "put_text": "a short text",
    "relay_events": "the stream of events, and how far each audit stream was read",
    "replace_fields": "what alerts remember",
    "sign_in_attempt": "attempts to sign in",
    "take_quota": "what a producer's token may make",
    "use_session": "a session",
}


def other_form(payload: str) -> str:
    """The same payload, written otherwise."""
    return payload.removesuffix(" ") if payload.endswith(" ") else f"{payload} "


class EngineAgainstModel(ReplayRules):
    """The play."""

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
        job = self.model.jobs.get(self.known(pick))
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

    @precondition(lambda self: any(job.lost for job in self.model.waiting()))
    @rule(count=st.integers(1, 5), suspects=st.sampled_from([0, 0, 1]))
    def fetch_past_suspects(self, count: int, suspects: int) -> None:
        """As a worker does that runs one."""
        self._fetch("w:1", count, self.limits, suspects)

    @precondition(there_is("waiting"))
    @rule(steps=st.lists(st.tuples(st.integers(1, 2), st.sampled_from([500, 400, 600, 1])), min_size=3, max_size=6))
    def keep_fetching(self, steps: list[tuple[int, int]]) -> None:
        """As a worker does that is held back by a limit only."""
        for count, ms in steps:
            self._fetch("w:1", count, self.limits)
            self.time_passes(ms)

    @precondition(there_is("delayed"))
    @rule(ripen_count=st.sampled_from([1, 2]), is_late=st.booleans())
    def fetch_while_much_is_due(self, ripen_count: int, is_late: bool) -> None:
        """More than one call moves."""
        if is_late:
            self.time_passes(60_000)
        self._fetch("w:1", 2, self.limits, ripen_count=ripen_count)

    def _fetch(
        self, worker: str, count: int, limits: Limits, suspects: int = 1_000, ripen_count: int = scripts.RIPEN_COUNT
    ) -> None:
        call = scripts.fetch(
            KEYS, count=count, lease_ms=LEASE_MS, worker=worker, global_concurrency=limits.global_concurrency,
            rate_count=limits.rate_count, rate_period_ms=limits.rate_period_ms, suspects=suspects,
            ripen_count=ripen_count,
        )  # fmt: skip
        fetched = self.state.run(call)
        self.deliveries += fetched.deliveries
        look_again_ms, jobs = self.model.fetch(worker, count, LEASE_MS, limits, suspects, ripen_count)
        expect(differ.HandedOutDiffers, "how many are handed out", len(jobs), len(fetched.deliveries))
        expect(differ.OrderDiffers, "order", [job.id for job in jobs], [d.id for d in fetched.deliveries])
        expect(differ.HandedOutDiffers, "when to look again", look_again_ms, fetched.look_again_ms)
        intended = [
            (
                job.delivery,
                job.name,
                job.payload,
                job.attempts,
                job.lost,
                job.enqueued_at,
                job.away,
                job.throttled,
                self.model.now - job.throttled_since if job.throttled_since else 0,
            )
            for job in jobs
        ]
        found = [
            (
                d.delivery,
                d.name,
                d.payload,
                d.attempts,
                d.lost,
                d.enqueued_at_ms,
                d.away_count,
                d.throttled_count,
                d.throttled_ms,
            )
            for d in fetched.deliveries
        ]
        expect(differ.AnswerDiffers, "deliveries", intended, found)

    @precondition(lambda self: self.model.token)
    @rule()
    def wake_up(self) -> None:
        self.client.lpop(KEYS.wake)
        self.model.token = False

    @rule()
    def ring(self) -> None:
        """As a worker does that took a token and no job."""
        expect(differ.AnswerDiffers, "ring", self.model.ring(), self.state.run(scripts.ring(KEYS.wake)))

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
        how=st.sampled_from(
            [(True, ""), (True, "away"), (False, ""), (False, "away"), (False, "throttled"), (False, "waiting")]
        ),
        cause=causes,
    )
    def postpone(self, pick: int, delay_ms: int, how: tuple[bool, Any], cause: str) -> None:
        uses_attempt, series = how
        for held in self._delivered([pick]):
            call = scripts.postpone(
                KEYS, worker="w:1", run=run_of(held), failure=failure(cause), delay_ms=delay_ms,
                uses_attempt=uses_attempt, series=series,
            )  # fmt: skip
            intended = self.model.postpone(
                "w:1", held.id, held.delivery, delay_ms=delay_ms, uses_attempt=uses_attempt, cause=cause,
                duration_ms=5.0, series=series,
            )  # fmt: skip
            expect(differ.AnswerDiffers, "postpone", intended, self.state.run(call))

    @rule(priority=st.sampled_from([0, 0, -1, 9]), cause=causes)
    def a_job_fails_for_good(self, priority: int, cause: str) -> None:
        self._enqueue([self._job(priority=priority)])
        self._fetch("w:1", 5, self.limits)
        self._report(self.deliveries[-1:], 0.5, "half")
        self._give_up(self.deliveries[-1:], cause)

    @precondition(lambda self: self.replays.running and self.model.letters)
    @rule(pick=picks, ms=st.sampled_from([0, 1]))
    def one_of_a_batch_fails_anew(self, pick: int, ms: int) -> None:
        """An operator replays it alone; the runner comes to it later."""
        replay_id = self._batch(pick)
        batch = self.replays.batches.get(replay_id)
        job_id = batch.failures[min(batch.done, len(batch.failures) - 1)][0] if batch else ""
        self._replay([job_id], "")
        self.time_passes(ms)
        self._fetch("w:1", 100, self.limits)
        self._give_up([held for held in self.deliveries[-8:] if held.id == job_id], "ValueError")
        self._hold(replay_id, "r:1", RUNNER_LEASE_MS)
        self._go_on(replay_id, "r:1", 0, 1)

    @precondition(there_is("waiting"))
    @rule()
    def a_lease_is_lost(self) -> None:
        """Its job goes to another worker; the first one does not know."""
        self._fetch("w:1", 1, self.limits)
        self.reclaim(100, is_late=True)
        self._fetch("w:2", 1, self.limits)

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
            scripts.Extended(self.model.now, self.model.extend_leases(worker, held, LEASE_MS)),
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
    @rule(pick=picks, fraction=st.sampled_from([0.0, 0.5, 1.0]), note=st.sampled_from(["", "half"]))
    def report_progress(self, pick: int, fraction: float, note: str) -> None:
        self._report(self._delivered([pick]), fraction, note)

    def _report(self, deliveries: list[Delivery], fraction: float, note: str) -> None:
        for held in deliveries:
            call = scripts.report_progress(KEYS, job_id=held.id, delivery=held.delivery, fraction=fraction, note=note)
            intended = self.model.report_progress(held.id, held.delivery, fraction, note)
            expect(differ.AnswerDiffers, "report_progress", intended, self.state.run(call))

    @precondition(has_work)
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True))
    def note_started(self, which: list[int]) -> None:
        begun = [(delivery.id, delivery.delivery) for delivery in self._delivered(which)]
        call = scripts.note_started(KEYS, worker="w:1", begun=begun)
        expect(differ.AnswerDiffers, "note_started", self.model.note_started("w:1", begun), self.state.run(call))

    @precondition(has_work)
    @rule(pick=picks)
    def note_stuck(self, pick: int) -> None:
        for held in self._delivered([pick]):
            call = scripts.note_stuck(
                KEYS, worker="w:1", job_id=held.id, delivery=held.delivery, detail="here", attempt="{}"
            )
            intended = self.model.note_stuck("w:1", held.id, held.delivery)
            expect(differ.AnswerDiffers, "note_stuck", intended, self.state.run(call))

    def _delivered(self, which: list[int]) -> list[Delivery]:
        """Some of the newest hand-overs: three in four are still held, others have ended or gone to another.

        Where nothing is held, something is fetched: so most plays come to the ends that matter.
        """
        if not there_is("active")(self):
            self._fetch("w:1", 2, self.limits)
        recent = self.deliveries[-8:]
        held = [found for found in recent if self.model.holds(found.id, found.delivery)]
        chosen = [choose(pick, held, recent) for pick in which] if recent else []
        return list({(found.id, found.delivery): found for found in chosen}.values())

    # Operators -----------------------------------------------------------------------------------

    @precondition(there_is("waiting", "delayed"))
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job_id = self.known(pick, "waiting", "delayed")
        call = scripts.cancel(KEYS, job_id=job_id, actor="owner", cancelled_kept=KEPT)
        expect(differ.AnswerDiffers, "cancel", self.model.cancel(job_id, "owner"), self.state.run(call))

    @precondition(there_is("delayed"))
    @rule(pick=picks)
    def promote(self, pick: int) -> None:
        job_id = self.known(pick, "delayed")
        call = scripts.promote(KEYS, job_id=job_id, actor="owner")
        expect(differ.AnswerDiffers, "promote", self.model.promote(job_id, "owner"), self.state.run(call))

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks, is_late=st.booleans())
    def reseal(self, pick: int, is_late: bool) -> None:
        """The same under another key, as it was read; or after somebody else has changed it."""
        job = self.model.jobs.get(job_id := self.known(pick))
        read = {"payload": job.payload, "first_payload": job.request[1]} if job else {"payload": ""}
        texts = [scripts.Replaced(name, "other" if is_late else text, other_form(text)) for name, text in read.items()]
        found = self.state.run(scripts.reseal(KEYS.job(job_id), texts))
        expect(differ.AnswerDiffers, "reseal", 0 if is_late else self.model.reseal(job_id, other_form), found)

    @precondition(there_is("failed"))
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True))
    def delete(self, which: list[int]) -> None:
        chosen = dict.fromkeys(self.known(pick, "failed") for pick in which)
        self._delete([(job_id, None) for job_id in chosen], "dlq.deleted")

    @precondition(there_is("failed"))
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True), is_stale=st.booleans(), is_kept=st.booleans())
    def delete_listed(self, which: list[int], is_stale: bool, is_kept: bool) -> None:
        """Part of a frozen list, of what is there or of failures before; its record may have run out."""
        deletion_id = "kept" if is_kept else "gone"
        if is_kept and "kept" not in self.model.deletions:
            self.client.hset(KEYS.deletion("kept"), "deleted", 0)
            self.model.deletions["kept"] = 0
        jobs = [self.model.jobs[job_id] for job_id in dict.fromkeys(self.known(pick, "failed") for pick in which)
                if job_id in self.model.jobs]  # fmt: skip
        self._delete([(job.id, job.finished_at - is_stale) for job in jobs], "dlq.deleted", deletion_id)

    @precondition(lambda self: self.model.letters)
    @rule()
    def purge(self) -> None:
        self._delete([(job_id, None) for job_id in self.model.letters], "dlq.purged")

    def _delete(self, failures: list[tuple[str, int | None]], action: str, deletion_id: str = "") -> None:
        call = scripts.delete_dead_letters(
            KEYS, actor="owner", action=action, failures=failures, deletion_id=deletion_id
        )  # fmt: skip
        intended = self.model.delete_letters(failures, "owner", action, deletion_id)
        expect(differ.AnswerDiffers, action, intended, self.state.run(call))

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

    @invariant()
    def the_queue_is_what_the_model_says(self) -> None:
        counts = self.state.run(scripts.queue_counts(KEYS, heartbeat_ms=60_000))
        dump = dump_queue(self.client, KEYS)
        compare(self.model, dump, counts, KEYS)
        compare_batches(self.replays, dump, KEYS)

    def teardown(self) -> None:
        """However it went: what waits is handed out in the model's order."""
        fields = dict.fromkeys(self.model.control, "")
        self._set_control("queue.configured", fields)
        self._fetch("w:1", 1_000, Limits())


def test_each_script_that_writes_is_played_or_knows_no_queue() -> None:
    rules = "".join(map(inspect.getsource, (EngineAgainstModel, ReplayRules, Stage)))
    played = set(re.findall(r"scripts\.(\w+)\(", rules)) & scripts_that_write()

    assert not missing_cases(played | NOT_PLAYED.keys(), scripts_that_write(), "the rules of tests/model")
    assert not played & NOT_PLAYED.keys()
    for name in NOT_PLAYED:
        assert "keys" not in inspect.signature(getattr(scripts, name)).parameters, f"{name} has the keys of a queue"


def test_the_engine_does_what_its_model_does(client: redis.Redis, clock: Clock) -> None:
    play(EngineAgainstModel, client, examples=scaled(30), steps=50)
