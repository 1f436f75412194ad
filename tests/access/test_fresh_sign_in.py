"""A session counts as fresh for some minutes after its person has proved who they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.freshness import FreshSignInNeeded
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation, Role, require_to_administer
from teknav_ops.errors import NotAllowed
from teknav_ops.storage.tables import AuditLog
from tests.access.conftest import PASSWORD, ROOT, NewEntrance
from tests.support.virtual_time import Clock

Trail = Callable[[], list[AuditLog]]


@pytest.fixture
def sara(entrance: Entrance, clock: Clock) -> str:
    """The cookie of somebody who has just signed in."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    return entrance.sign_in("sara", PASSWORD, address="10.0.0.1").cookie


def now(entrance: Entrance, cookie: str) -> Identity:
    identity = entrance.by_cookie(cookie, is_use=False)
    assert identity is not None
    return identity


def is_fresh(entrance: Entrance, cookie: str) -> bool:
    """Whether the session may do what changes users."""
    try:
        require_to_administer(now(entrance, cookie).operator)
    except FreshSignInNeeded:
        return False
    return True


def test_it_is_fresh_for_ten_minutes_and_again_after_the_password(
    entrance: Entrance, sara: str, clock: Clock, trail: Trail
) -> None:
    clock.advance(600)
    assert is_fresh(entrance, sara)
    clock.advance(0.001)
    assert not is_fresh(entrance, sara)
    # Nothing else needs it, nor does looking at users and tokens.
    now(entrance, sara).require(Operation.ACT)
    now(entrance, sara).require(Operation.ADMINISTER)

    entrance.own.confirm(now(entrance, sara), PASSWORD)

    assert is_fresh(entrance, sara)
    assert trail()[-1].action == "user.confirmed"
    clock.advance(600.001)
    assert not is_fresh(entrance, sara)


def test_a_wrong_password_confirms_nothing(entrance: Entrance, sara: str, clock: Clock) -> None:
    clock.advance(601)
    with pytest.raises(NotAllowed, match="not your password"):
        entrance.own.confirm(now(entrance, sara), "a guess of the password")

    assert not is_fresh(entrance, sara)


def test_a_server_whose_clock_was_set_back_makes_no_session_fresh(entrance: Entrance, sara: str, clock: Clock) -> None:
    clock.advance(-3_600)

    assert not is_fresh(entrance, sara)


def test_the_setting_says_for_how_long(new_entrance: NewEntrance, sara: str, clock: Clock) -> None:
    clock.advance(61)

    assert not is_fresh(new_entrance(fresh_sign_in_minutes=1), sara)
    assert is_fresh(new_entrance(fresh_sign_in_minutes=2), sara)


def test_who_changes_users_or_ends_others_sessions_must_be_fresh_but_ones_own_may_be_ended_at_any_time(
    entrance: Entrance, sara: str, clock: Clock
) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    other = entrance.sign_in("sara", PASSWORD, address="10.0.0.1")
    clock.advance(601)
    stale = now(entrance, sara).operator

    for change in (
        lambda: entrance.users.set_role(stale, "ali", Role.VIEWER),
        lambda: entrance.signed_in.end_all(stale, "ali"),
        lambda: entrance.tokens.revoke(stale, "ci"),
        lambda: entrance.links.for_user(stale, "ali"),
    ):
        with pytest.raises(FreshSignInNeeded, match="last 10 minutes"):
            change()

    assert entrance.signed_in.of(stale, "ali") == []
    entrance.signed_in.end(stale, "sara", other.session.id[:12])


def test_the_provider_vouches_anew_for_the_same_person_only(entrance: Entrance, sara: str, clock: Clock) -> None:
    remembered = entrance.sign_on("olga@example.com", Role.OWNER, address="10.0.0.1").cookie
    assert not is_fresh(entrance, remembered), "the provider only remembered the browser"
    asked = entrance.sign_on("olga@example.com", Role.OWNER, address="10.0.0.1", is_proved=True).cookie
    assert is_fresh(entrance, asked)

    for cookie, name in ((remembered, "ali@example.com"), (sara, "sara")):
        with pytest.raises(NotAllowed):
            entrance.own.confirm_sign_on(now(entrance, cookie), name)
    with pytest.raises(NotAllowed, match="single sign-on"):
        entrance.own.confirm(now(entrance, remembered), PASSWORD)
    assert not is_fresh(entrance, remembered)

    entrance.own.confirm_sign_on(now(entrance, remembered), "olga@example.com")
    assert is_fresh(entrance, remembered)
