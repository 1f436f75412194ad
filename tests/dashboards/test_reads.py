"""Open pages share what they read, and are not redrawn for each of many events."""

from __future__ import annotations

import threading
import time

import pytest

from dashboards.reads import SharedReads


def test_readers_at_the_same_time_cause_one_read() -> None:
    reads, count, begin = SharedReads(), [], threading.Event()

    def read() -> int:
        count.append(1)
        time.sleep(0.05)
        return 7

    def look() -> None:
        begin.wait()
        assert reads.get("key", read) == 7

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()

    assert len(count) == 1


def test_what_happened_makes_a_value_old_and_what_happened_elsewhere_does_not() -> None:
    reads, values = SharedReads(), iter(range(9))

    def look() -> int:
        return reads.get("key", lambda: next(values), queue="email:send", seconds=60)

    assert (look(), look()) == (0, 0)
    reads.changed("otp:send")
    assert look() == 0
    reads.changed("email:send")
    assert (look(), look()) == (1, 1)


def test_a_read_during_which_something_happened_is_repeated() -> None:
    reads, values = SharedReads(), iter(range(9))

    def read() -> int:
        value = next(values)
        if value == 0:
            reads.changed("email:send")
        return value

    assert reads.get("key", read, queue="email:send", seconds=60) == 0
    assert reads.get("key", read, queue="email:send", seconds=60) == 1


def test_a_failed_read_is_not_kept() -> None:
    reads, answers = SharedReads(), iter([ValueError("away"), 5])

    def read() -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with pytest.raises(ValueError):
        reads.get("key", read)
    assert reads.get("key", read) == 5
