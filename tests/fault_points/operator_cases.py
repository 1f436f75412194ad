"""Cases for what operators send, and the runners of their batch replays."""

from __future__ import annotations

from typing import Any, Final

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import BatchTurn, Call
from tests.fault_points.cases import FAR_FUTURE_MS, JOB, OTHER_JOB, CaseList, Play
from tests.support.state import KEYS

CASES: Final = CaseList()


@CASES.add("cancel")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return scripts.cancel(KEYS, job_id=JOB, actor="olga", cancelled_kept=1_000)


@CASES.add("promote")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB, delay_ms=60_000)
    return scripts.promote(KEYS, job_id=JOB, actor="olga")


@CASES.add("replay_dead_letters")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    return scripts.replay_dead_letters(KEYS, actor="olga", failures=[(JOB, None)], payload='{"number": 2}')


@CASES.add("replay_dead_letters: as part of a batch replay")
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


@CASES.add("move_replay")
def _(state: Play) -> Call[Any]:
    previewed_replay(state)
    return move_call("running", "olga", rate="5")


@CASES.add("move_replay: finished by its runner")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return move_call("finished", "r:1")


@CASES.add("move_replay: aborted")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return move_call("aborted", "olga")


@CASES.add("hold_replay")
def _(state: Play) -> Call[Any]:
    running_replay(state)
    return hold_call(10_000)


@CASES.add("hold_replay: given back")
def _(state: Play) -> Call[Any]:
    running_replay(state, runner="r:1")
    return hold_call(0)


@CASES.add("delete_dead_letters")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    return scripts.delete_dead_letters(KEYS, actor="olga", action="dlq.deleted", failures=[(JOB, None), ("gone", None)])


@CASES.add("delete_dead_letters: as part of a batch deletion")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    state.client.hset(KEYS.deletion("deletion-1"), "deleted", 0)
    state.client.pexpireat(KEYS.deletion("deletion-1"), FAR_FUTURE_MS)
    failures = [(JOB, int(state.job(JOB)["finished_at_ms"])), (OTHER_JOB, 1)]
    return scripts.delete_dead_letters(
        KEYS, actor="olga", action="dlq.deleted", failures=failures, reason="gone", deletion_id="deletion-1"
    )


@CASES.add("reseal")
def _(state: Play) -> Call[Any]:
    state.dead(id=JOB)
    return scripts.reseal(KEYS.dlq_record(JOB), [scripts.Replaced("payload", '{"number": 1}', '{"number": 1 }')])


@CASES.add("set_control")
def _(state: Play) -> Call[Any]:
    return scripts.set_control(KEYS, actor="olga", action="queue.paused", fields={"paused": "1"})


@CASES.add("set_control: back to the topology's value")
def _(state: Play) -> Call[Any]:
    state.run(scripts.set_control(KEYS, actor="olga", action="queue.configured", fields={"concurrency": "3"}))
    return scripts.set_control(KEYS, actor="olga", action="queue.configured", fields={"concurrency": ""})


@CASES.add("flush")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return scripts.flush(KEYS, actor="w:1", count=1)


@CASES.add("flush: more jobs wait than it takes at once")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    state.enqueue(id=OTHER_JOB)
    return scripts.flush(KEYS, actor="w:1", count=1)
