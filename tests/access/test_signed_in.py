"""Who is signed in where, and how a session is ended from another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import redis

from teknav_ops.access.attempts import PER_USER, TooManyAttempts
from teknav_ops.access.devices import device_of
from teknav_ops.access.entrance import Entrance, SignInRefused
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operator, Role
from teknav_ops.access.signed_in import UnknownSession
from teknav_ops.errors import InvalidRequest, NotAllowed
from teknav_ops.redis_state import keys
from teknav_ops.storage.tables import AuditLog
from tests.access.conftest import PASSWORD, ROOT

Trail = Callable[[], list[AuditLog]]
NEW = "another long password"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def signed_in(entrance: Entrance, name: str = "sara", password: str = PASSWORD, **way: str) -> Identity:
    """The identity of somebody who has just signed in."""
    cookie = entrance.sign_in(name, password, **{"address": "10.0.0.1", **way}).cookie
    identity = entrance.by_cookie(cookie, is_use=False)
    assert identity is not None
    return identity


@pytest.fixture
def sara(entrance: Entrance) -> Identity:
    """Signed in three times; this is the last one."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)
    signed_in(entrance, address="10.0.0.8", agent=FIREFOX)
    signed_in(entrance)
    return signed_in(entrance)


def test_sessions_are_listed_with_device_address_and_times_the_last_used_first(
    entrance: Entrance, sara: Identity, client: redis.Redis
) -> None:
    first = next(s for s in entrance.signed_in.of(sara.operator, "Sara") if s.way.address == "10.0.0.8")
    client.hset(
        keys.session(first.id), "seen_at_ms", int(client.hget(keys.session(first.id), "seen_at_ms") or 0) + 60_000
    )

    listed = entrance.signed_in.of(sara.operator, "Sara")

    assert len(listed) == 3 and listed[0].id == first.id
    now = entrance.current(dataclasses.replace(sara, address="192.0.2.7"))
    assert now == dataclasses.replace(sara, address="192.0.2.7")
    assert (listed[0].way.how, device_of(listed[0].way.agent)) == ("password", "Firefox on Linux")
    assert (listed[0].used_at - listed[0].opened_at).total_seconds() == 60
    assert listed[0].ends_at > listed[0].used_at


def test_one_session_is_ended_and_the_others_stay(entrance: Entrance, sara: Identity, trail: Trail) -> None:
    other = next(s for s in entrance.signed_in.of(sara.operator, "sara") if s.id != sara.session_id)

    entrance.signed_in.end(sara.operator, "sara", other.handle)

    assert len(entrance.signed_in.of(sara.operator, "sara")) == 2
    assert entrance.current(sara) is not None
    assert (trail()[-1].action, trail()[-1].actor) == ("user.session_ended", "sara")
    for handle in (other.handle, "", "none"):
        with pytest.raises(UnknownSession, match="no open session"):
            entrance.signed_in.end(sara.operator, "sara", handle)


def test_all_others_are_ended(entrance: Entrance, sara: Identity) -> None:
    vida = entrance.sessions.open("vida", Role.VIEWER, user_id=None, epoch=0)

    assert entrance.signed_in.end_all(sara.operator, "sara", but=sara.session_id) == 2

    assert [session.id for session in entrance.signed_in.of(sara.operator, "sara")] == [sara.session_id]
    assert entrance.sessions.find(vida.cookie, is_use=False) is not None


def test_everybody_sees_and_ends_their_own_and_only_who_manages_users_those_of_others(
    entrance: Entrance, sara: Identity
) -> None:
    viewer = Operator("vida", Role.VIEWER)
    mine = entrance.sessions.open("vida", Role.VIEWER, user_id=None, epoch=0)
    theirs = entrance.signed_in.of(ROOT, "sara")[0].handle

    for attempt in (
        lambda: entrance.signed_in.of(viewer, "sara"),
        lambda: entrance.signed_in.end(viewer, "sara", theirs),
        lambda: entrance.signed_in.end_all(viewer, "sara"),
    ):
        with pytest.raises(NotAllowed):
            attempt()

    assert len(entrance.signed_in.of(ROOT, "sara")) == 3
    (own,) = entrance.signed_in.of(viewer, "vida")
    entrance.signed_in.end(viewer, "vida", own.handle)
    assert entrance.sessions.find(mine.cookie, is_use=False) is None


@pytest.mark.each_database
def test_changing_ones_own_password_ends_the_other_sessions_and_keeps_this_one(
    entrance: Entrance, sara: Identity, trail: Trail
) -> None:
    assert entrance.own.change_password(sara, PASSWORD, NEW) == 2

    assert entrance.current(sara) is not None
    assert [session.id for session in entrance.signed_in.of(ROOT, "sara")] == [sara.session_id]
    with pytest.raises(SignInRefused):
        signed_in(entrance)
    signed_in(entrance, password=NEW)
    assert NEW not in str([row.detail for row in trail()])
    # The session stands in the new epoch, and no longer than that.
    entrance.users.set_password(ROOT, "sara", PASSWORD)
    assert entrance.current(sara) is None


def test_a_viewer_changes_their_own_password(entrance: Entrance, new_entrance: Callable[..., Entrance]) -> None:
    entrance.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)
    open_to_viewers = new_entrance(viewers_allowed=True)
    vida = signed_in(open_to_viewers, "vida")

    open_to_viewers.own.change_password(vida, PASSWORD, NEW)

    signed_in(open_to_viewers, "vida", NEW)


def test_a_password_is_not_changed_without_the_old_one_nor_to_a_weak_one(entrance: Entrance, sara: Identity) -> None:
    with pytest.raises(NotAllowed, match="not your password"):
        entrance.own.change_password(sara, "not the password", NEW)
    with pytest.raises(InvalidRequest, match="password: "):
        entrance.own.change_password(sara, PASSWORD, "short")

    assert len(entrance.signed_in.of(ROOT, "sara")) == 3
    signed_in(entrance)


def test_a_stolen_session_cannot_guess_the_password_on_and_on(entrance: Entrance, sara: Identity, trail: Trail) -> None:
    sara = dataclasses.replace(sara, address="192.0.2.7")
    for _ in range(PER_USER.free_count + 1):
        with pytest.raises((NotAllowed, TooManyAttempts)) as last:
            entrance.own.change_password(sara, "a guess of it", NEW)

    assert last.type is TooManyAttempts
    refused = next(row for row in trail() if row.action == "user.refused")
    assert (refused.actor, refused.detail) == ("sara", {"address": "192.0.2.7", "operation": "change password"})


def test_who_came_through_the_provider_has_no_password_here(entrance: Entrance, sara: Identity) -> None:
    opened = entrance.sign_on("sara@x.example", Role.OWNER, address="10.0.0.1")
    identity = entrance.by_cookie(opened.cookie, is_use=False)
    assert identity is not None

    with pytest.raises(NotAllowed, match="single sign-on"):
        entrance.own.change_password(identity, PASSWORD, NEW)


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit CriOS/140.0 Mobile Safari/604.1",
            "Chrome on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("<script>alert(1)</script>", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_browser_is_named_by_what_it_says_of_itself(agent: str, device: str) -> None:
    assert device_of(agent) == device
