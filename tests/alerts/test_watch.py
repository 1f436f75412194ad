"""Since when conditions hold, and what follows: pure, with the clock in hand."""

from __future__ import annotations

from typing import Any

from teknav_ops.alerts.conditions import Condition
from teknav_ops.alerts.watch import RULE_IS_GONE, Changes, Since, decide, follow

KEY = "r|test:work"


def condition(state: str, **facts: Any) -> Condition:
    usual = {"rule": "r", "kind": "dlq_inflow", "severity": "page", "queue": "test:work", "value": 1, "limit": 0}
    usual |= {"unit": "jobs", "message": f"it is {state}", "for_seconds": 60, "clear_seconds": 120}
    return Condition(state=state, **{**usual, **facts})  # type: ignore[arg-type]


class Clock:
    """Plays states second by second and notes what opens and what is resolved."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.since: dict[str, Since] = {}
        self.open: set[str] = set()
        self.log: list[str] = []

    def play(self, state: str, seconds: int, **facts: Any) -> None:
        for _ in range(seconds):
            self.now_ms += 1_000
            self.step(condition(state, **facts))

    def step(self, *conditions: Condition, silenced: frozenset[str] = frozenset()) -> Changes:
        self.since = follow(conditions, self.since, self.now_ms)
        changes = decide(conditions, self.since, self.open, {KEY}, silenced, self.now_ms)
        self.log += [f"opened at {self.now_ms // 1000}" for _ in changes.to_open]
        self.log += [f"resolved at {self.now_ms // 1000}" for _ in changes.to_resolve]
        self.open |= {opened.key for opened in changes.to_open}
        self.open -= set(changes.to_resolve)
        return changes


def test_an_alert_opens_once_after_its_time_and_is_resolved_once_after_its() -> None:
    clock = Clock()

    clock.play("firing", 300)
    clock.play("clear", 300)

    assert clock.log == ["opened at 1061", "resolved at 1421"]


def test_a_value_that_flaps_opens_nothing_and_resolves_nothing() -> None:
    clock = Clock()
    for _ in range(20):
        clock.play("firing", 50)
        clock.play("clear", 10)
    assert clock.log == []

    clock.play("firing", 70)
    for _ in range(20):
        clock.play("clear", 100)
        clock.play("firing", 5)

    assert len(clock.log) == 1


def test_without_a_time_to_wait_it_opens_at_the_first_look() -> None:
    clock = Clock()

    clock.play("firing", 1, for_seconds=0)

    assert clock.log == ["opened at 1001"]


def test_what_could_not_be_looked_at_changes_nothing() -> None:
    clock = Clock()
    clock.play("firing", 61)
    clock.play("unknown", 10_000)
    assert clock.open == {KEY}

    clock.play("clear", 1)
    clock.play("unknown", 10_000)

    assert clock.open == {KEY}
    clock.play("clear", 1)
    assert clock.open == set()


def test_a_clock_that_was_set_back_delays_an_alert_by_its_time_and_not_by_hours() -> None:
    clock = Clock()
    clock.play("firing", 30)
    clock.now_ms -= 3_600_000

    clock.play("firing", 62)

    assert len(clock.log) == 1


def test_a_silenced_condition_opens_when_the_silence_ends_if_it_still_holds() -> None:
    clock = Clock()
    for _ in range(100):
        clock.now_ms += 1_000
        clock.step(condition("firing"), silenced=frozenset({KEY}))
    assert clock.log == []

    clock.play("firing", 1)

    assert clock.log == ["opened at 1101"]


def test_an_open_alert_of_a_rule_that_is_gone_is_resolved_at_once() -> None:
    clock = Clock()
    clock.open = {"gone|test:work", KEY}

    changes = clock.step()

    assert changes.to_resolve == {"gone|test:work": RULE_IS_GONE}
    assert clock.open == {KEY}


def test_what_is_written_is_read_and_what_is_not_ours_is_left_alone() -> None:
    assert Since.parse(str(Since("firing", 12))) == Since("firing", 12)
    assert Since.parse("damaged") is Since.parse("firing soon") is None
