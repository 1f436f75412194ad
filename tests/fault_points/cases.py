"""A situation for each typed script call in which it has something to do.

A case brings an empty database into the situation, through the scripts, and answers the call that is then sent. Ids
are fixed, so that two runs of one case end in the same data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import redis

from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.scripts import BatchTurn, Call, Delivery, NewJob
from tests.support.state import KEYS, State, failure, run_of
from tests.support.virtual_time import Clock

JOB: Final = "job-1"
OTHER_JOB: Final = "job-2"
#: A lease that is over as soon as it begins.
ENDED: Final = -1


class Play(State):
    """A state on a clock that stands still, so that two runs of one case can be compared."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.empty()

    def empty(self) -> None:
        """Begin anew, at the same moment, with the scripts loaded."""
        self.client.flushdb()
        self.clock = Clock(self.client)


FAR_FUTURE_MS: Final = 32_503_680_000_000

Prepare = Callable[[Play], Call[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One script in one situation; `name` begins with the script's."""

    name: str
    prepare: Prepare

    @property
    def script(self) -> str:
        return self.name.partition(":")[0]


CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Prepare], Prepare]:
    """Put a situation on the list, as `script` or `script: situation`."""

    def put(prepare: Prepare) -> Prepare:
        assert name not in CASES
        CASES[name] = Case(name, prepare)
        return prepare

    return put


def enqueue_call(job_id: str = JOB, **facts: Any) -> Call[Any]:
    job = NewJob(**{"id": job_id, "name": "work", "payload": '{"number": 1}', **facts})
    return scripts.enqueue(KEYS, idempotency_ms=86_400_000, actor="test", jobs=[job])


def fetch_call(count: int = 1, *, lease_ms: int = 30_000, rate_count: int = 0) -> Call[Any]:
    return scripts.fetch(
        KEYS,
        count=count,
        lease_ms=lease_ms,
        worker="w:1",
        global_concurrency=0,
        rate_count=rate_count,
        rate_period_ms=60_000,
    )


def held(state: Play, *, lease_ms: int = 30_000, **facts: Any) -> Delivery:
    """A job in a worker's hands."""
    state.enqueue(id=JOB, **facts)
    (delivery,) = state.fetch(lease_ms=lease_ms)
    return delivery


def reclaim_call(*, lost_limit: int = 3) -> Call[Any]:
    return scripts.reclaim(KEYS, count=100, lost_limit=lost_limit, lease_ms=30_000, worker="w:2")


# Producers and workers -------------------------------------------------------------------------


@case("enqueue")
def _(state: Play) -> Call[Any]:
    return enqueue_call(idempotency_key="key")


@case("enqueue: with a priority, a delay, and a key that is used")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=OTHER_JOB, idempotency_key="used")
    facts = ({"priority": -3}, {"delay_ms": 60_000}, {"idempotency_key": "used"}, {"idempotency_key": "new"})
    jobs = [NewJob(id=f"new-{n}", name="work", payload="{}", **fact) for n, fact in enumerate(facts)]  # type: ignore[arg-type]
    return scripts.enqueue(KEYS, idempotency_ms=86_400_000, actor="test", jobs=jobs)


@case("fetch")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return fetch_call()


@case("fetch: more jobs wait than are asked for")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return fetch_call()


@case("fetch: under a rate limit")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return fetch_call(rate_count=5)


@case("fetch: a job of another priority is left")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB, priority=3)
    return fetch_call()


@case("fetch: a delayed job with a priority is due")
def _(state: Play) -> Call[Any]:
    state.postpone(held(state, priority=2), delay_ms=0)
    return fetch_call()


@case("complete")
def _(state: Play) -> Call[Any]:
    runs = [(run_of(held(state)), '{"ok": true}')]
    return scripts.complete(KEYS, worker="w:1", completed_kept=1_000, wakes=True, runs=runs)


@case("complete: a group of which one job has gone to another worker")
def _(state: Play) -> Call[Any]:
    lost = held(state, lease_ms=ENDED)
    state.run(reclaim_call())
    state.enqueue(id=OTHER_JOB)
    state.enqueue(id="job-3")
    mine = [delivery for delivery in state.fetch(3) if delivery.id != lost.id]
    runs = [(run_of(delivery), "") for delivery in (lost, *mine)]
    return scripts.complete(KEYS, worker="w:1", completed_kept=1_000, wakes=False, runs=runs)


@case("postpone")
def _(state: Play) -> Call[Any]:
    run = run_of(held(state))
    return scripts.postpone(KEYS, worker="w:1", run=run, failure=failure(), delay_ms=60_000, uses_attempt=True)


@case("postpone: a snooze")
def _(state: Play) -> Call[Any]:
    run = run_of(held(state))
    return scripts.postpone(KEYS, worker="w:1", run=run, failure=failure(), delay_ms=60_000, uses_attempt=False)


@case("dead_letter")
def _(state: Play) -> Call[Any]:
    return scripts.dead_letter(KEYS, worker="w:1", run=run_of(held(state)), failure=failure(), failed_kept=5_000)


@case("extend_leases")
def _(state: Play) -> Call[Any]:
    delivery = held(state)
    pairs = [(delivery.id, delivery.delivery), ("gone", 1)]
    return scripts.extend_leases(KEYS, worker="w:1", lease_ms=60_000, held=pairs)


@case("reclaim")
def _(state: Play) -> Call[Any]:
    held(state, lease_ms=ENDED)
    return reclaim_call()


@case("reclaim: a job that has cost too many workers their life")
def _(state: Play) -> Call[Any]:
    held(state, lease_ms=ENDED)
    return reclaim_call(lost_limit=1)


@case("mark_started")
def _(state: Play) -> Call[Any]:
    return scripts.mark_started(KEYS, job_id=JOB, delivery=held(state).delivery)


@case("note_started")
def _(state: Play) -> Call[Any]:
    return scripts.note_started(KEYS, worker="w:1", begun=[(JOB, held(state).delivery)])


@case("report_progress")
def _(state: Play) -> Call[Any]:
    return scripts.report_progress(KEYS, job_id=JOB, delivery=held(state).delivery, fraction=0.5, note="half")


@case("release")
def _(state: Play) -> Call[Any]:
    return scripts.release(KEYS, held=[(JOB, held(state).delivery)])


# Operators -------------------------------------------------------------------------------------


@case("cancel")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return scripts.cancel(KEYS, job_id=JOB, actor="olga", cancelled_kept=1_000)


@case("promote")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB, delay_ms=60_000)
    return scripts.promote(KEYS, job_id=JOB, actor="olga")


@case("replay_dead_letters")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    return scripts.replay_dead_letters(KEYS, actor="olga", failures=[(JOB, None)], payload='{"number": 2}')


@case("replay_dead_letters: as part of a batch replay")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    failed_at_ms = int(state.job(JOB)["finished_at_ms"])
    failures = [(JOB, failed_at_ms), (OTHER_JOB, failed_at_ms)]
    return scripts.replay_dead_letters(KEYS, actor="olga", failures=failures, turn=BatchTurn("replay-1", "r:1", 0))


def previewed_replay(state: Play) -> None:
    """A batch replay of one dead letter, as a preview writes it."""
    state.dead(id=JOB)
    state.client.hset(KEYS.replay("replay-1"), mapping={"state": "previewed", "total": 2})
    state.client.rpush(KEYS.replay_ids("replay-1"), f"{JOB}|1", f"{OTHER_JOB}|1")
    for key in (KEYS.replay("replay-1"), KEYS.replay_ids("replay-1")):
        state.client.pexpireat(key, FAR_FUTURE_MS)


def move_call(wanted: Any, by: str, rate: str = "") -> Call[Any]:
    return scripts.move_replay(KEYS, "replay-1", wanted=wanted, by=by, kept_ms=3_600_000, rate=rate)


def hold_call(lease_ms: int) -> Call[Any]:
    return scripts.hold_replay(KEYS, "replay-1", runner="r:1", lease_ms=lease_ms, kept_ms=3_600_000)


def running_replay(state: Play, *, runner: str = "") -> None:
    """A batch replay under way, held by its runner."""
    previewed_replay(state)
    state.run(move_call("running", "olga"))
    if runner:
        state.run(hold_call(10_000))


@case("move_replay")
def _(state: Play) -> Call[Any]:
    previewed_replay(state)
    return move_call("running", "olga", rate="5")


@case("move_replay: finished by its runner")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return move_call("finished", "r:1")


@case("move_replay: aborted")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return move_call("aborted", "olga")


@case("hold_replay")
def _(state: Play) -> Call[Any]:
    running_replay(state)
    return hold_call(10_000)


@case("hold_replay: given back")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return hold_call(0)


@case("delete_dead_letters")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    return scripts.delete_dead_letters(KEYS, actor="olga", action="dlq.deleted", job_ids=[JOB, "gone"])


@case("set_control")
def _(state: Play) -> Call[Any]:
    return scripts.set_control(KEYS, actor="olga", action="queue.paused", fields={"paused": "1"})


@case("set_control: back to the topology's value")
def _(state: Play) -> Call[Any]:
    state.run(scripts.set_control(KEYS, actor="olga", action="queue.configured", fields={"concurrency": "3"}))
    return scripts.set_control(KEYS, actor="olga", action="queue.configured", fields={"concurrency": ""})


@case("flush")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return scripts.flush(KEYS, actor="w:1", count=1)


@case("flush: more jobs wait than it takes at once")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return scripts.flush(KEYS, actor="w:1", count=1)


# Processes -------------------------------------------------------------------------------------


@case("queue_counts")
def _(state: Play) -> Call[Any]:
    held(state)
    return scripts.queue_counts(KEYS, heartbeat_ms=30_000)


@case("audit_lag")
def _(state: Play) -> Call[Any]:
    held(state)
    return scripts.audit_lag(KEYS)


@case("server_memory")
def _(state: Play) -> Call[Any]:
    return scripts.server_memory(KEYS)


@case("put_newest")
def _(state: Play) -> Call[Any]:
    return scripts.put_newest(keys.dashboard(7), made_at_ms=1, ttl_ms=60_000, json_text="{}")


@case("replace_fields")
def _(state: Play) -> Call[Any]:
    state.client.hset(keys.ALERTS_OPEN, mapping={"old": "1", "kept": "1"})
    return scripts.replace_fields(keys.ALERTS_OPEN, written={"new": "1"}, dropped=["old"])


@case("publish_stats")
def _(state: Play) -> Call[Any]:
    json_text = '{"term": 2, "publisher": "s:1", "lastUpdatedAt": 1}'
    return scripts.publish_stats(
        KEYS.queue, term=2, publisher="s:1", fresh_ms=20_000, expires_at_ms=FAR_FUTURE_MS, json_text=json_text
    )


@case("lead")
def _(state: Play) -> Call[Any]:
    return scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="renew")


@case("lead: released")
def _(state: Play) -> Call[Any]:
    state.run(scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="renew"))
    return scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="release")


@case("relay_events")
def _(state: Play) -> Call[Any]:
    return scripts.relay_events(KEYS.queue, from_id="", to_id="5-0", kept=10_000, events=['{"type":"job"}'])


@case("relay_events: read from no audit stream")
def _(state: Play) -> Call[Any]:
    return scripts.relay_events("", from_id="", to_id="", kept=10_000, events=['{"type":"stats"}'])


# Who may enter -----------------------------------------------------------------------------------


@case("open_session")
def _(state: Play) -> Call[Any]:
    return scripts.open_session(
        keys.session("s1"), idle_ms=60_000, longest_ms=600_000, fields={"name": "olga", "role": "OWNER"}
    )


@case("list_session")
def _(state: Play) -> Call[Any]:
    listed = keys.user_sessions("olga")
    for number in range(2):
        call = scripts.list_session(
            listed, session_id=f"old-{number}", longest_ms=60_000 + number, kept_ms=600_000, most=2
        )
        state.run(call)
    return scripts.list_session(listed, session_id="new", longest_ms=600_000, kept_ms=600_000, most=2)


@case("put_text")
def _(state: Play) -> Call[Any]:
    return scripts.put_text(keys.worker("w:1"), text="{}", ttl_ms=60_000)


@case("use_session")
def _(state: Play) -> Call[Any]:
    state.run(scripts.open_session(keys.session("s1"), idle_ms=60_000, longest_ms=600_000, fields={"name": "olga"}))
    state.client.hset(keys.session("s1"), "seen_at_ms", 1)
    return scripts.use_session(keys.session("s1"), idle_ms=60_000, is_use=True, coarse_ms=0)


def attempt_call(wish: Any) -> Call[Any]:
    return scripts.sign_in_attempt(
        keys.sign_in_attempts("user", "olga"), wish=wish, free_count=3, delay_ms=1_000, longest_ms=60_000,
        memory_ms=3_600_000,
    )  # fmt: skip


@case("sign_in_attempt")
def _(state: Play) -> Call[Any]:
    return attempt_call("begin")


@case("sign_in_attempt: refunded")
def _(state: Play) -> Call[Any]:
    state.run(attempt_call("begin"))
    state.run(attempt_call("begin"))
    return attempt_call("refund")


@case("sign_in_attempt: forgotten")
def _(state: Play) -> Call[Any]:
    state.run(attempt_call("begin"))
    return attempt_call("forget")
