"""What the leading scheduler does again and again."""

from __future__ import annotations

import threading

import redis

from teknav_ops.errors import StorageUnavailable
from teknav_ops.redis_state import keys
from teknav_ops.runtime.duties import Duty, DutyThread
from teknav_ops.runtime.leader import LeaderLease
from tests.support.waiting import until


def test_a_duty_is_done_while_its_process_leads_and_not_otherwise(client: redis.Redis) -> None:
    lease, done = LeaderLease(client, "test"), threading.Event()  # type: ignore[arg-type]
    thread = DutyThread(Duty(name="note", every_seconds=0.01, run=done.set), lease)
    thread.start()
    assert not done.wait(0.3)

    lease.hold()
    assert done.wait(45)

    lease.give_up()
    until(lambda: not lease.is_held)
    done.clear()
    thread.stop()
    thread.join(45)


def test_a_duty_that_fails_is_tried_again(client: redis.Redis) -> None:
    lease, attempts, done = LeaderLease(client, "test"), iter([StorageUnavailable("away"), None]), threading.Event()  # type: ignore[arg-type]
    lease.hold()

    def run() -> None:
        if error := next(attempts):
            raise error
        done.set()

    thread = DutyThread(Duty(name="note", every_seconds=60, run=run), lease)
    thread.start()

    assert done.wait(45)
    thread.stop()
    thread.join(45)


def test_a_standby_leads_when_the_leader_falls_silent_and_with_a_later_term(client: redis.Redis) -> None:
    first, second = (LeaderLease(client, "test", lease_ms=ms) for ms in (300, 60_000))  # type: ignore[arg-type]
    assert first.hold()

    until(second.hold)
    until(lambda: not first.is_held)

    assert not first.hold()
    assert second.term > first.term
    assert client.get(keys.lease("test")) == second.holder
