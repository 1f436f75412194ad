"""Every ordered pair of the scripts that may touch one job, in every state of the job.

Nothing here knows what a pair should do; it knows what must hold afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teknav_ops.jobs.states import JobState
from teknav_ops.redis_state.scripts import Call
from tests.fault_points.cases import FAR_FUTURE_MS, JOB, Play
from tests.fault_points.plays import BATCH, BATCH_RECORD, Action, Situation, actions, situations
from tests.support.invariants import broken_promises, illegal_moves, missing_wake
from tests.support.queue_dump import QueueDump, changed_keys, dump_command, parse_dump
from tests.support.scale import scaled
from tests.support.script_list import missing_cases, scripts_that_change_a_job
from tests.support.state import KEYS
from tests.support.virtual_time import CLOCK_KEY

#: Pairs; three in a row where numbers are large.
DEPTH = 2 if scaled(1) == 1 else 3
_REWIND = (Path(__file__).parents[1] / "support" / "lua" / "rewind.lua").read_text()


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One call that was sent, between two dumps."""

    action: Action
    delivery: int
    before: QueueDump
    answer: Any
    after: QueueDump

    def faults(self) -> list[str]:
        """What does not hold, in words."""
        words = [
            *broken_promises(self.after),
            *illegal_moves(self.action.script, self.before, self.after),
            *missing_wake(self.action.script, self.before, self.after),
        ]
        changed = changed_keys(self.before, self.after)
        if not self.action.did(self.answer):
            words += [f"answered {self.answer} and wrote {key}" for key in sorted(changed)]
        held = self.before.hashes(KEYS.job(JOB)).get("delivery")
        if self.action.is_workers and held != str(self.delivery) and changed - {KEYS.workers}:
            words.append(f"delivery {self.delivery} changed what is in the hands of delivery {held}")
        return words


class Stage:
    """Sends calls in pipelines, on a database that can be rewound."""

    def __init__(self, state: Play) -> None:
        self._pipeline = state.client.pipeline(transaction=False)
        self._clock = state.client.hgetall(CLOCK_KEY)
        self._rewind = state.client.script_load(_REWIND)
        self._dump = state.client.script_load(dump_command(KEYS)[1])
        self._wanted: list[int] = []

    def begin(self, situation: Situation) -> None:
        """From an empty database into the situation."""
        self._pipeline.flushdb()
        self._pipeline.hset(CLOCK_KEY, mapping=self._clock)
        self._pipeline.hset(KEYS.replay(BATCH.replay_id), mapping=BATCH_RECORD)
        self._pipeline.pexpireat(KEYS.replay(BATCH.replay_id), FAR_FUTURE_MS)
        for call in situation.calls:
            self.send(call)

    def look(self) -> None:
        """A dump is wanted."""
        self._want()
        self._pipeline.execute_command("EVALSHA", self._dump, *dump_command(KEYS)[2:])

    def play(self, call: Call[Any]) -> None:
        """Send the call; its answer and a dump are wanted."""
        self._want()
        self.send(call)
        self.look()

    def keep(self) -> None:
        """Go on from here; a worker has been woken meanwhile."""
        self._pipeline.lpop(KEYS.wake)
        self._pipeline.execute_command("EVALSHA", self._rewind, 0, "keep")

    def rewind(self) -> None:
        """Back to where the database was kept."""
        self._pipeline.execute_command("EVALSHA", self._rewind, 0, "rewind")

    def answers(self) -> Iterator[Any]:
        """What the wanted commands since the last time answered."""
        raw = self._pipeline.execute()
        wanted, self._wanted = self._wanted, []
        return (raw[index] for index in wanted)

    def send(self, call: Call[Any]) -> None:
        """Send the call; nobody asks what it answers."""
        self._pipeline.execute_command("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.args)

    def _want(self) -> None:
        self._wanted.append(len(self._pipeline.command_stack))


def steps(stage: Stage, situation: Situation, so_far: tuple[str, ...] = ()) -> Iterator[tuple[str, Step]]:
    """Each action after those so far, and each after each of these up to the depth, with what it is called.

    After an action that wrote nothing the next would stand where it stood without it: it is not played again.
    """
    known = actions()
    stage.begin(situation)
    for name in so_far:
        stage.send(known[name].make(situation.delivery))
    for name, step in played(stage, situation):
        sequence = (*so_far, name)
        yield ", then ".join(sequence), step
        if len(sequence) < DEPTH and changed_keys(step.before, step.after):
            yield from steps(stage, situation, sequence)


def played(stage: Stage, situation: Situation) -> list[tuple[str, Step]]:
    """Each action from where the database is now, in one round trip."""
    known = actions()
    stage.keep()
    stage.look()
    for action in known.values():
        stage.play(action.make(situation.delivery))
        stage.rewind()
    start, *rest = stage.answers()
    before = parse_dump(KEYS, start)
    return [
        (name, Step(action, situation.delivery, before, answer, parse_dump(KEYS, after)))
        for (name, action), answer, after in zip(known.items(), rest[::2], rest[1::2], strict=True)
    ]


def test_each_script_that_changes_a_job_is_among_the_actions_and_each_state_among_the_situations() -> None:
    named = {action.script for action in actions().values()}
    assert not missing_cases(named, scripts_that_change_a_job(), "tests/fault_points/plays.py")
    assert {situation.state for situation in situations().values()} == {None, *(state.value for state in JobState)}


@pytest.mark.parametrize("name", situations())
def test_whatever_two_scripts_follow_each_other_the_job_is_in_one_place_and_all_counts_agree(
    state: Play, name: str
) -> None:
    situation = situations()[name]
    faults: dict[str, list[str]] = {}
    count = 0

    for what, step in steps(Stage(state), situation):
        if count == 0:
            states = {record["state"] for record in step.before.jobs().values()}
            assert states == {situation.state} - {None}, "the situation is not what it says"
        count += 1
        if found := step.faults():
            faults[what] = found

    assert faults == {}
    assert count > len(actions())
