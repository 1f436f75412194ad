"""Each script call through the product's client, with the connection lost around it.

The client sends a call again by itself. A call that never arrived has then run once; one whose answer was lost has
run twice; `repetition.py` says what a second run may do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Call, ScriptRunner
from tests.fault_points import operator_cases, process_cases, worker_cases
from tests.fault_points.cases import Case, Play
from tests.fault_points.repetition import ANSWERS_OTHERWISE, CHANGES_MORE
from tests.support.invariants import broken_promises, illegal_moves, missing_wake
from tests.support.queue_dump import QueueDump, changed_keys, dump_queue, family_of
from tests.support.script_list import missing_cases, typed_scripts
from tests.support.state import KEYS
from tests.support.tcp_proxy import FaultProxy, Moment

CASES = {**worker_cases.CASES, **operator_cases.CASES, **process_cases.CASES}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@dataclasses.dataclass(frozen=True, slots=True)
class Sends:
    """What is there before a call, after it was sent once, and after it was sent twice; and its two answers."""

    before: QueueDump
    once: QueueDump
    twice: QueueDump
    first_answer: Any
    second_answer: Any


def prepare(state: Play, case: Case) -> Call[Any]:
    state.empty()
    call = case.prepare(state)
    # A worker has been woken meanwhile.
    state.client.lpop(KEYS.wake)
    return call


def dump(state: Play) -> QueueDump:
    return dump_queue(state.client, KEYS, with_others=True)


def send_twice(state: Play, case: Case) -> Sends:
    call = prepare(state, case)
    before = dump(state)
    first_answer = state.run(call)
    once = dump(state)
    second_answer = state.run(call)
    return Sends(before, once, dump(state), first_answer, second_answer)


def test_each_script_has_a_case() -> None:
    assert not missing_cases({case.script for case in CASES.values()}, typed_scripts(), "tests/fault_points/*_cases.py")
    assert CHANGES_MORE.keys() | ANSWERS_OTHERWISE.keys() <= CASES.keys()


@each_case
def test_sent_twice_a_call_changes_and_answers_what_it_did_at_first_but_for_the_listed_exceptions(
    state: Play, case: Case
) -> None:
    sends = send_twice(state, case)

    more = {family_of(key) for key in changed_keys(sends.once, sends.twice)}
    assert more == CHANGES_MORE.get(case.name, (frozenset(), ""))[0]
    if "flags=no-writes" not in scripts.load(case.script).source:
        assert changed_keys(sends.before, sends.once), "the case gives the script nothing to do"
        assert (sends.first_answer != sends.second_answer) == (case.name in ANSWERS_OTHERWISE)
    for found in (sends.once, sends.twice):
        assert broken_promises(found) == []
    for before, after in ((sends.before, sends.once), (sends.once, sends.twice)):
        assert illegal_moves(case.script, before, after) == []
    assert missing_wake(case.script, sends.before, sends.once) == []


# Losses ----------------------------------------------------------------------------------------

#: A loss sends the call by way of the proxy and answers (its answer, how often it has run).
Loss = Callable[[FaultProxy, ScriptRunner, Call[Any]], tuple[Any, int]]


def neighbour(call: Call[Any]) -> Call[Any]:
    """A call that changes nothing, of another script than `call`."""
    other = QueueKeys("test:other")
    return scripts.audit_lag(other) if call.script.name != "audit_lag" else scripts.server_memory(other)


def command_lost(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(call.script.name, Moment.BEFORE)
    return runner.run(call), 1


def answer_lost(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(call.script.name, Moment.AFTER)
    return runner.run(call), 2


def answer_cut(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(call.script.name, Moment.MID_ANSWER)
    return runner.run(call), 2


def pipeline_cut_before_it(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(call.script.name, Moment.BEFORE)
    return runner.run_many([neighbour(call), call])[1], 1


def pipeline_cut_after_it(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(neighbour(call).script.name, Moment.BEFORE)
    return runner.run_many([call, neighbour(call)])[0], 2


def pipeline_answers_cut(proxy: FaultProxy, runner: ScriptRunner, call: Call[Any]) -> tuple[Any, int]:
    proxy.arm(call.script.name, Moment.MID_ANSWER)
    return runner.run_many([neighbour(call), call, neighbour(call)])[1], 2


LOSSES = {
    loss.__name__: loss
    for loss in (
        command_lost, answer_lost, answer_cut, pipeline_cut_before_it, pipeline_cut_after_it, pipeline_answers_cut,
    )
}  # fmt: skip


@each_case
def test_after_a_lost_call_the_clients_retry_leaves_what_one_send_does_and_after_a_lost_answer_what_two_do(
    state: Play, proxy: FaultProxy, lossy: Client, case: Case
) -> None:
    sends = send_twice(state, case)
    is_read_only = "flags=no-writes" in scripts.load(case.script).source

    for name, lose in LOSSES.items():
        answer, ran = lose(proxy, ScriptRunner(lossy), prepare(state, case))

        assert proxy.dropped_count == 1, name
        assert not changed_keys(dump(state), sends.once if ran == 1 else sends.twice), name
        expected = sends.first_answer if ran == 1 else sends.second_answer
        assert is_read_only or answer == expected, name


@each_case
def test_where_the_client_gives_up_it_says_so_and_the_caller_may_send_again(
    state: Play, proxy: FaultProxy, lossy: Client, case: Case
) -> None:
    sends, runner = send_twice(state, case), ScriptRunner(lossy)

    call = prepare(state, case)
    proxy.arm(call.script.name, Moment.BEFORE, times=3)
    with pytest.raises(OUTAGE_ERRORS):
        runner.run(call)
    assert proxy.dropped_count == 3
    assert not changed_keys(dump(state), sends.before)
    runner.run(call)
    assert not changed_keys(dump(state), sends.once)

    call = prepare(state, case)
    proxy.arm(call.script.name, Moment.AFTER, times=3)
    with pytest.raises(OUTAGE_ERRORS):
        runner.run(call)
    runner.run(call)
    found = dump(state)
    assert not changed_keys(found, sends.twice) or case.name in CHANGES_MORE
    assert broken_promises(found) == []


def test_a_pipeline_of_two_scripts_cut_between_them_runs_the_first_twice_and_the_second_once(
    state: Play, proxy: FaultProxy, lossy: Client
) -> None:
    """What the heartbeat sends: the leases are extended, then what others left is reclaimed."""
    reclaim = CASES["reclaim"].prepare(state)
    extend = scripts.extend_leases(KEYS, worker="w:2", lease_ms=30_000, held=[("gone", 1)])
    proxy.arm("reclaim", Moment.BEFORE)

    lost, reclaimed = ScriptRunner(lossy).run_many([extend, reclaim])

    assert proxy.seen == ["extend_leases", "reclaim", "extend_leases", "reclaim"]
    assert (lost.lost, reclaimed.returned_count) == (["gone"], 1)


def test_a_server_that_does_not_know_the_script_yet_loses_nothing_either(
    state: Play, proxy: FaultProxy, lossy: Client
) -> None:
    call = CASES["enqueue"].prepare(state)
    state.client.script_flush()
    proxy.arm("enqueue", Moment.AFTER)

    (accepted,) = ScriptRunner(lossy).run(call)

    assert proxy.seen == ["enqueue"] * 3, "unknown; given, and its answer lost; given again"
    assert accepted.is_new
    assert broken_promises(dump(state)) == []
