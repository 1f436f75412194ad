"""One queue on a clock of its own, and how a machine of rules is played on it."""

from __future__ import annotations

import os
import random
import sys
from typing import ClassVar

import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.support.state import State
from tests.support.virtual_time import Clock


class PlayedQueue(RuleBasedStateMachine):
    """Empty at the beginning of each example."""

    client: ClassVar[redis.Redis]

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.state = State(self.client)


def play(machine: type[PlayedQueue], client: redis.Redis, *, examples: int, steps: int) -> None:
    """Play a machine's rules in random orders. A failing run prints its seed; TEKNAV_TEST_SEED plays it again.

    Only then the steps are made fewer: that takes minutes, in which a test's time would be up before it says anything.
    """
    machine.client = client
    given = os.environ.get("TEKNAV_TEST_SEED")
    number = int(given or random.SystemRandom().randrange(10**9))
    sys.stdout.write(f"seed: TEKNAV_TEST_SEED={number}\n")
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if given else [Phase.generate],
        ),
    )
