"""Open pages share what they read, and are not redrawn for each of many events."""

from __future__ import annotations

import threading

import pytest

from dashboards.reads import SharedReads


def test_readers_at_the_same_time_cause_one_read() -> None:
    reads, read_count, asked = SharedReads(), [], threading.Semaphore(0)
    may_end = threading.Event()

    def read() -> int:
        read_count.append(1)
        assert may_end.wait(45)
        return 7

    def look() -> None:
        asked.release()
        assert reads.get("key", read, seconds=60) == 7

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert asked.acquire(timeout=45)
    may_end.set()
    for thread in threads:
        thread.join()

    assert len(read_count) == 1


def test_an_event_of_the_same_queue_makes_a_value_old_and_other_queues_events_do_not() -> None:
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
