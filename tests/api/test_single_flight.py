"""Single flight: many share a reading, and nobody gets one that began before they asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from teknav_ops.api.single_flight import SingleFlight
from tests.support.waiting import until


class Reading:
    """A reading that waits to be let go on, and answers how often it was done."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = threading.Event()

    def __call__(self) -> int:
        self.count += 1
        count = self.count
        self.may_end.wait(30)
        return count


@pytest.fixture
def flights() -> SingleFlight:
    return SingleFlight()


def ask(flights: SingleFlight, read: Callable[[], int], answers: list[object], key: str = "queues") -> threading.Thread:
    def asking() -> None:
        try:
            answers.append(flights.get(key, read))
        except ValueError as error:
            answers.append(str(error))

    thread = threading.Thread(target=asking)
    thread.start()
    return thread


def asking_count(flights: SingleFlight) -> int:
    return sum(flight.asking_count for flight in flights._flights.values())


def test_who_asks_during_a_reading_waits_for_the_next_which_serves_them_all(flights: SingleFlight) -> None:
    reading, first, others = Reading(), [], []  # type: ignore[var-annotated]
    threads = [ask(flights, reading, first)]
    until(lambda: reading.count == 1)
    threads += [ask(flights, reading, others) for _ in range(7)]
    until(lambda: asking_count(flights) == 8)

    reading.may_end.set()
    for thread in threads:
        thread.join()

    assert (first, others, reading.count) == ([1], [2] * 7, 2)
    # Nothing is kept: the next one reads.
    assert flights.get("queues", reading) == 3 and not flights._flights


def test_other_questions_are_not_waited_for(flights: SingleFlight) -> None:
    reading, answers = Reading(), []  # type: ignore[var-annotated]
    thread = ask(flights, reading, answers)
    until(lambda: reading.count == 1)

    assert flights.get("something else", lambda: 5) == 5

    reading.may_end.set()
    thread.join()


def test_an_error_is_shared_too_and_forgotten(flights: SingleFlight) -> None:
    reading, first, others = Reading(), [], []  # type: ignore[var-annotated]

    def fail() -> int:
        raise ValueError(f"outage {reading()}")

    threads = [ask(flights, fail, first)]
    until(lambda: reading.count == 1)
    threads += [ask(flights, fail, others) for _ in range(7)]
    until(lambda: asking_count(flights) == 8)

    reading.may_end.set()
    for thread in threads:
        thread.join()

    # Eight who wait for a server that does not answer wait for two timeouts, not for eight.
    assert (first, others, reading.count) == (["outage 1"], ["outage 2"] * 7, 2)
    assert flights.get("queues", lambda: 7) == 7 and not flights._flights
