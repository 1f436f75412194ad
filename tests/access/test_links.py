"""One-time links."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.links import FIRST_OWNER, LinkUsedUp
from teknav_ops.access.policy import Role
from teknav_ops.access.sessions import WayIn
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.storage.tables import AuditLog
from tests.access.conftest import PASSWORD, ROOT

HOME = "10.0.0.1"


def first_link(entrance: Entrance) -> str:
    secret = entrance.links.for_first_owner()
    assert secret is not None
    return secret


@pytest.mark.each_database
def test_the_first_link_makes_one_owner_once(entrance: Entrance, trail: Callable[[], list[AuditLog]]) -> None:
    secret = first_link(entrance)

    new = entrance.become_first_owner(secret, "سارا", PASSWORD, address=HOME)

    identity = entrance.by_cookie(new.cookie, is_use=True)
    assert identity is not None and identity.operator.role is Role.OWNER and identity.operator.name == "سارا"
    with pytest.raises(LinkUsedUp):
        entrance.become_first_owner(secret, "thief", PASSWORD, address=HOME)
    assert entrance.links.for_first_owner() is None
    assert [row.action for row in trail()] == ["user.added", "user.signed_in"]
    assert secret not in str([vars(row) for row in trail()])


def test_a_second_start_makes_a_second_link_but_no_second_first_owner(entrance: Entrance) -> None:
    one, two = first_link(entrance), first_link(entrance)
    entrance.become_first_owner(one, "sara", PASSWORD, address=HOME)

    with pytest.raises(LinkUsedUp):
        entrance.become_first_owner(two, "thief", PASSWORD, address=HOME)
    assert entrance.links.look(two) is None
    assert [user.name for user in entrance.users.page().items] == ["sara"]


@pytest.mark.each_database
def test_one_link_used_by_many_at_once_lets_one_in(entrance: Entrance) -> None:
    secret = first_link(entrance)

    def use(number: int) -> bool:
        try:
            entrance.become_first_owner(secret, f"user{number}", PASSWORD, address=HOME)
        except WrongState:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))).count(True) == 1
    assert entrance.users.count() == 1


def test_when_somebody_came_in_by_a_link_is_noted(entrance: Entrance) -> None:
    entrance.become_first_owner(first_link(entrance), "sara", PASSWORD, address=HOME, agent="Firefox")
    entrance.users.add(ROOT, "omid", Role.OWNER, PASSWORD)
    assert [(user.name, user.signed_in_at is not None) for user in entrance.users.page().items] == [
        ("omid", False),
        ("sara", True),
    ]

    entrance.sign_in_by_link(entrance.links.for_user(ROOT, "omid"), address=HOME, agent="curl")

    assert entrance.users.named("omid").signed_in_at is not None
    (first,), (second,) = (entrance.sessions.of(name) for name in ("sara", "omid"))
    assert (first.way, second.way) == (WayIn("first link", HOME, "Firefox"), WayIn("link", HOME, "curl"))


def test_a_weak_password_does_not_use_the_link_up(entrance: Entrance) -> None:
    secret = first_link(entrance)
    with pytest.raises(InvalidRequest, match="too few"):
        entrance.become_first_owner(secret, "sara", "short", address=HOME)
    with pytest.raises(InvalidRequest, match="name: "):
        entrance.become_first_owner(secret, "", PASSWORD, address=HOME)

    assert entrance.become_first_owner(secret, "sara", PASSWORD, address=HOME)


@pytest.mark.each_database
def test_a_users_link_signs_in_once_and_is_recorded(entrance: Entrance, trail: Callable[[], list[AuditLog]]) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    secret = entrance.links.for_user(ROOT, "sara")

    assert entrance.sign_in_by_link(secret, address=HOME)
    with pytest.raises(LinkUsedUp):
        entrance.sign_in_by_link(secret, address=HOME)
    made, signed_in = trail()[-2:]
    assert (made.action, made.actor, made.detail) == ("user.link_made", "root", {"user": "sara"})
    assert signed_in.action == "user.signed_in"


def test_looking_at_a_link_does_not_use_it_up(entrance: Entrance) -> None:
    first = first_link(entrance)
    assert entrance.links.look(first) == entrance.links.look(first) == FIRST_OWNER
    entrance.become_first_owner(first, "sara", PASSWORD, address=HOME)
    for_sara = entrance.links.for_user(ROOT, "sara")

    sara = entrance.users.named("sara")
    assert entrance.links.look(for_sara) == f"{sara.id}:{sara.epoch}"
    assert entrance.links.look(first) is None
    assert entrance.sign_in_by_link(for_sara, address=HOME)


@pytest.mark.parametrize("secret", ["", "x" * 43, "\ud800"])
def test_what_was_never_a_link_is_used_up(entrance: Entrance, secret: str) -> None:
    assert entrance.links.look(secret) is None
    with pytest.raises(LinkUsedUp, match="teknav users link NAME"):
        entrance.links.take(secret)


def test_a_link_is_worth_nothing_after_the_password_changed(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    secret = entrance.links.for_user(ROOT, "sara")
    entrance.users.set_password(ROOT, "sara", "another long password")

    with pytest.raises(LinkUsedUp):
        entrance.sign_in_by_link(secret, address=HOME)


def test_no_link_for_nobody_or_the_disabled_and_none_for_another_purpose(entrance: Entrance) -> None:
    first = first_link(entrance)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    for_sara = entrance.links.for_user(ROOT, "sara")
    entrance.users.disable(ROOT, "ali")

    with pytest.raises(UnknownUser, match="ghost"):
        entrance.links.for_user(ROOT, "ghost")
    with pytest.raises(WrongState, match="ali is disabled"):
        entrance.links.for_user(ROOT, "ali")
    with pytest.raises(LinkUsedUp):
        entrance.sign_in_by_link(first, address=HOME)
    with pytest.raises(LinkUsedUp):
        entrance.become_first_owner(for_sara, "thief", PASSWORD, address=HOME)


def test_links_expire_and_redis_holds_only_their_hash(entrance: Entrance, client: redis.Redis) -> None:
    def lasts_ms(secret: str) -> int:
        (key,) = client.keys("teknav:sign-in-link:*")
        assert secret not in str(key)
        life_ms = client.pttl(key)
        client.delete(key)
        return int(life_ms)

    assert 23 * 3_600_000 < lasts_ms(first_link(entrance)) <= 24 * 3_600_000
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    assert 10 * 60_000 < lasts_ms(entrance.links.for_user(ROOT, "sara")) <= 15 * 60_000
