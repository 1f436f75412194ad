"""Limits of signing in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from teknav_ops.access import entrance as entrance_module
from teknav_ops.access.attempts import (
    PER_ADDRESS,
    PER_CODE,
    PER_USER,
    Attempts,
    Limit,
    TooManyAttempts,
    network_of,
)
from teknav_ops.access.entrance import Entrance, SignInRefused
from teknav_ops.access.policy import Role
from teknav_ops.storage.tables import AuditLog
from tests.access.conftest import PASSWORD, ROOT
from tests.support.virtual_time import Clock
from tests.support.waiting import until

ATTACKER, HOME = "203.0.113.9", "10.0.0.1"


def tried(attempts: Attempts, name: str, address: str) -> bool:
    try:
        attempts.begin(name, address)
    except TooManyAttempts:
        return False
    return True


def test_a_hundred_wrong_passwords_are_looked_at_six_times(
    entrance: Entrance, trail: Callable[[], list[AuditLog]], monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    looked: list[str] = []

    def verify(password: str, known: str | None) -> bool:
        looked.append(password)
        return password == PASSWORD

    monkeypatch.setattr(entrance_module, "verify", verify)

    def guess(number: int) -> type[Exception]:
        with pytest.raises((SignInRefused, TooManyAttempts)) as error:
            entrance.sign_in("sara", f"guess number {number}", address=ATTACKER)
        return error.type

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(guess, range(100)))

    assert outcomes.count(SignInRefused) == len(looked) <= 7
    with pytest.raises(TooManyAttempts, match="Wait"):
        entrance.sign_in("sara", PASSWORD, address=ATTACKER)
    # From elsewhere the right password is still the right password.
    assert entrance.sign_in("sara", PASSWORD, address=HOME)
    refused = [row for row in trail() if row.action == "user.sign_in_refused"]
    assert 1 <= len(refused) <= 5
    assert "guess number" not in str([vars(row) for row in trail()])


def test_a_guesser_with_many_addresses_is_slowed_down_but_locks_nobody_out_for_long(client: redis.Redis) -> None:
    limit = Limit(free_count=10, delay_ms=500, longest_ms=2_000)
    attempts = Attempts(client, per_user=limit)  # type: ignore[arg-type]

    went_on = [tried(attempts, "sara", f"198.51.100.{number}") for number in range(30)]

    assert went_on.count(True) < 20
    assert until(lambda: tried(attempts, "sara", HOME))
    assert PER_USER.longest_ms <= 30_000


def test_success_clears_the_name_but_gives_the_address_back_one_attempt_only(client: redis.Redis) -> None:
    attempts = Attempts(client, per_address=Limit(3, 600_000, 600_000))  # type: ignore[arg-type]
    for name in ("a", "b", "c"):
        assert tried(attempts, name, ATTACKER)
    assert tried(attempts, "mine", ATTACKER)
    attempts.succeeded("mine", ATTACKER)

    assert tried(attempts, "d", ATTACKER)
    assert not tried(attempts, "e", ATTACKER)


def waits_seconds(begin: Callable[[], None]) -> int:
    """How long it tells to wait; 0: it was let through."""
    try:
        begin()
    except TooManyAttempts as error:
        assert str(error) == f"Too many attempts. Wait {error.wait_seconds} s and try again."
        return error.wait_seconds
    return 0


def test_each_further_failure_costs_twice_the_wait_in_whole_seconds(client: redis.Redis, clock: Clock) -> None:
    limit = Limit(free_count=2, delay_ms=2_000, longest_ms=7_000)
    attempts = Attempts(client, per_address=limit)  # type: ignore[arg-type]

    def begin() -> None:
        attempts.begin("sara", ATTACKER)

    found = []
    for _ in range(5):
        found.append(waits_seconds(begin))
        wait_seconds = waits_seconds(begin)
        clock.advance(wait_seconds)
        found.append(wait_seconds)

    assert found == [0, 0, 0, 2, 0, 4, 0, 7, 0, 7]
    # After part of a second the rest counts as a whole one.
    clock.advance(-6.5)
    assert waits_seconds(begin) == 7


def test_an_hour_after_the_last_failure_all_is_forgotten(client: redis.Redis, clock: Clock) -> None:
    attempts = Attempts(client)  # type: ignore[arg-type]
    for _ in range(PER_ADDRESS.free_count + 1):
        attempts.begin("sara", ATTACKER)
    assert not tried(attempts, "sara", ATTACKER)

    clock.advance(3_600)

    assert all(tried(attempts, "sara", ATTACKER) for _ in range(PER_ADDRESS.free_count + 1))


def test_codes_are_counted_for_each_user_until_one_is_right(client: redis.Redis, clock: Clock) -> None:
    attempts = Attempts(client)  # type: ignore[arg-type]

    def begin() -> None:
        attempts.begin_code(7)

    def six_tries() -> list[int]:
        return [waits_seconds(begin) for _ in range(PER_CODE.free_count + 1)]

    assert six_tries() == [0] * 6
    assert waits_seconds(begin) == 2 and waits_seconds(lambda: attempts.begin_code(8)) == 0
    clock.advance(1.001)
    assert waits_seconds(begin) == 1
    clock.advance(1)
    assert (waits_seconds(begin), waits_seconds(begin)) == (0, 4)
    attempts.code_accepted(7)
    assert six_tries() == [0] * 6


def test_waiting_for_a_name_does_not_count_against_the_address(client: redis.Redis) -> None:
    attempts = Attempts(
        client,
        per_address=Limit(3, 600_000, 600_000),
        per_user=Limit(0, 600_000, 600_000),  # type: ignore[arg-type]
    )
    assert tried(attempts, "sara", HOME)
    for _ in range(20):
        assert not tried(attempts, "sara", HOME)

    assert tried(attempts, "ali", HOME)


def test_an_ipv6_network_is_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") == "2001:db8::/64"
    assert network_of("2001:db8:1::1") != network_of("2001:db8:2::1")
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("testclient") == "testclient"
