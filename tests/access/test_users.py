"""Users, and what becomes of their sessions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from argon2 import PasswordHasher
from sqlalchemy import update

from teknav_ops.access import entrance as entrance_module
from teknav_ops.access.entrance import Entrance, SignInRefused
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.access.sessions import WayIn, session_id_of
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest, NotAllowed, WrongState
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AccessUser, AuditLog
from teknav_ops.storage.tables.base import utc_now
from tests.access.conftest import PASSWORD, ROOT, NewEntrance
from tests.support.redis_server import RedisServer
from tests.support.sql_moments import at_commit_of

Trail = Callable[[], list[AuditLog]]
HOME = "10.0.0.1"


def cookie(entrance: Entrance, name: str = "sara", password: str = PASSWORD) -> str:
    return entrance.sign_in(name, password, address=HOME).cookie


@pytest.mark.each_database
def test_a_user_is_added_found_and_listed(entrance: Entrance, trail: Trail) -> None:
    entrance.users.add(ROOT, "سارا", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "Vida", Role.VIEWER, PASSWORD)

    found = entrance.users.find("VIDA")
    assert found is not None and found[0].name == "Vida" and found[0].role is Role.VIEWER
    assert PASSWORD not in found[1]
    assert [user.name for user in entrance.users.page().items] == ["Vida", "سارا"]
    assert [(row.action, row.actor, row.outcome) for row in trail()] == [("user.added", "root", "done")] * 2
    assert PASSWORD not in str([row.detail for row in trail()])


@pytest.mark.each_database
def test_users_are_listed_a_page_at_a_time_and_none_is_left_out_while_others_go(entrance: Entrance) -> None:
    for name in ("پری", "Zed", "b c", "B-a", "ali"):
        entrance.users.add(ROOT, name, Role.OWNER, PASSWORD)

    first = entrance.users.page(limit=2)
    entrance.users.remove(ROOT, first.items[-1].name)
    second = entrance.users.page(limit=2, cursor=first.next_cursor)
    last = entrance.users.page(limit=2, cursor=second.next_cursor)

    listed = [user.name for page in (first, second, last) for user in page.items]
    assert listed[0] == "ali" and listed[-1] == "پری" and sorted(listed) == sorted(("ali", "b c", "B-a", "Zed", "پری"))
    assert (first.total_count, last.total_count, last.next_cursor) == (5, 4, None)


@pytest.mark.each_database
def test_a_name_is_taken_once_whatever_its_case(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "Sara", Role.OWNER, PASSWORD)

    with pytest.raises(InvalidRequest, match="there is a user 'sara' already"):
        entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)


@pytest.mark.parametrize("name", ["..", ".", "-x", "--help", "_", " @a", "\u0654a", "\u200c"])
def test_a_name_that_is_no_address_and_no_argument_is_none(entrance: Entrance, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: must begin with a letter or a digit"):
        entrance.users.add(ROOT, name, Role.OWNER, PASSWORD)


def test_a_password_is_held_against_the_name_as_it_is_kept_whatever_was_typed(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)

    with pytest.raises(InvalidRequest, match="made of the user's name"):
        entrance.users.set_password(ROOT, "sa\u200cra", "sara, 4711 +-")
    with pytest.raises(UnknownUser):
        entrance.users.set_password(ROOT, "nobody", "weak")


def test_who_is_added_while_sessions_cannot_be_ended_is_not_added(
    own_server: RedisServer, database: Database, tmp_path: Path
) -> None:
    """Else whoever came through single sign-on under that name would go on as somebody else."""
    client = own_server.client()
    entrance = Entrance(Settings(data_dir=tmp_path), client, OperatorLog(database))  # type: ignore[arg-type]
    cookie = entrance.sign_on("olga", Role.OWNER, address=HOME).cookie
    own_server.kill()
    with pytest.raises(redis.ConnectionError):
        entrance.users.add(ROOT, "olga", Role.VIEWER, PASSWORD)
    own_server.start()

    assert entrance.users.find("olga") is None
    assert entrance.by_cookie(cookie, is_use=False) is not None
    entrance.users.add(ROOT, "olga", Role.VIEWER, PASSWORD)
    assert entrance.by_cookie(cookie, is_use=False) is None


@pytest.fixture
def at_home(own_server: RedisServer, database: Database, tmp_path: Path) -> Entrance:
    """An entrance on a Redis of the test's own, with an OWNER, and sara, who has a token."""
    client = own_server.client()
    entrance = Entrance(Settings(data_dir=tmp_path), client, OperatorLog(database))  # type: ignore[arg-type]
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.tokens.create(ROOT, "ci", role=Role.VIEWER, scopes=[Operation.READ], life=None, owner="sara")
    return entrance


_CHANGES: dict[str, Callable[[Entrance, str], object]] = {
    "role": lambda entrance, _: entrance.users.set_role(ROOT, "sara", Role.OPERATOR),
    "disable": lambda entrance, _: entrance.users.disable(ROOT, "sara"),
    "remove": lambda entrance, _: entrance.users.remove(ROOT, "sara"),
    "password": lambda entrance, _: entrance.users.set_password(ROOT, "sara", "another long password"),
    "own password": lambda entrance, kept: entrance.users.set_own_password(
        Operator("sara", Role.OWNER), "another long password", session_id=session_id_of(kept)
    ),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_who_cannot_be_signed_out_is_not_changed(
    change: str, at_home: Entrance, own_server: RedisServer, trail: Trail
) -> None:
    """Else the answer would be that Redis is away, and the user be changed all the same."""
    kept, before = cookie(at_home), at_home.users.find("sara")
    own_server.kill()
    with pytest.raises(redis.ConnectionError):
        _CHANGES[change](at_home, kept)
    own_server.start()

    assert at_home.users.find("sara") == before
    assert at_home.tokens.page().items[0].state == "live"
    assert at_home.by_cookie(kept, is_use=False) is not None
    assert trail()[-1].outcome == "failed"


@pytest.mark.parametrize("change", _CHANGES)
def test_who_was_changed_as_redis_went_away_is_changed_and_let_in_no_more(
    change: str, at_home: Entrance, own_server: RedisServer, database: Database, trail: Trail
) -> None:
    kept, before = cookie(at_home), at_home.users.find("sara")
    statement = "DELETE FROM access_user " if change == "remove" else "UPDATE access_user "
    with at_commit_of(database, statement, own_server.kill):
        _CHANGES[change](at_home, kept)
    own_server.start()

    assert at_home.users.find("sara") != before
    assert at_home.by_cookie(kept, is_use=False) is None
    assert trail()[-1].outcome == "done"
    assert "Redis" in (trail()[-1].detail or {})["sessions"]


def test_only_an_owner_may_change_users(entrance: Entrance) -> None:
    viewer = Operator("vida", Role.VIEWER)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)

    for change in (
        lambda: entrance.users.add(viewer, "x", Role.OWNER, PASSWORD),
        lambda: entrance.users.set_password(viewer, "sara", PASSWORD),
        lambda: entrance.users.set_role(viewer, "sara", Role.OWNER),
        lambda: entrance.users.disable(viewer, "sara"),
        lambda: entrance.users.remove(viewer, "sara"),
        lambda: entrance.signed_in.end_all(viewer, "sara"),
        lambda: entrance.links.for_user(viewer, "sara"),
    ):
        with pytest.raises(NotAllowed):
            change()


def test_what_takes_a_right_away_ends_all_sessions_at_once_in_every_process(
    entrance: Entrance, new_entrance: NewEntrance
) -> None:
    elsewhere = new_entrance(viewers_allowed=True)
    elsewhere.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    elsewhere.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    other = "another long password"
    changes: list[Callable[[], object]] = [
        lambda: entrance.users.set_password(ROOT, "sara", other),
        lambda: entrance.users.set_role(ROOT, "sara", Role.VIEWER),
        lambda: entrance.users.disable(ROOT, "sara"),
        lambda: entrance.users.remove(ROOT, "sara"),
    ]
    password = PASSWORD
    for change in changes:
        kept, second = cookie(elsewhere, password=password), cookie(elsewhere, password=password)
        bystander = cookie(elsewhere, "ali")
        assert elsewhere.by_cookie(kept, is_use=True) is not None
        change()
        assert elsewhere.by_cookie(kept, is_use=True) is elsewhere.by_cookie(second, is_use=True) is None
        assert elsewhere.by_cookie(bystander, is_use=True) is not None
        password = other
        if change is changes[2]:
            entrance.users.enable(ROOT, "sara")


@pytest.mark.each_database
def test_an_operator_may_be_limited_to_queues_and_the_limit_changes_at_once(
    entrance: Entrance, new_entrance: NewEntrance, trail: Callable[[], list[AuditLog]]
) -> None:
    elsewhere = new_entrance()
    user = entrance.users.add(ROOT, "sara", Role.OPERATOR, PASSWORD, queues=["webhooks:*", "otp:send"])
    kept = cookie(elsewhere)

    identity = elsewhere.by_cookie(kept, is_use=True)
    assert identity is not None and user.queues == identity.operator.queues == ("otp:send", "webhooks:*")
    assert identity.may(Operation.ACT, "otp:send") and not identity.may(Operation.ACT, "email:send")
    entrance.users.add(ROOT, "root", Role.OWNER, PASSWORD)
    entrance.users.set_role(ROOT, "sara", Role.OPERATOR, queues=["email:send"])
    assert elsewhere.by_cookie(kept, is_use=True) is None
    again = elsewhere.by_cookie(cookie(elsewhere), is_use=True)
    assert again is not None and again.operator.queues == ("email:send",)
    added, changed = (row for row in trail() if row.actor == ROOT.name and (row.detail or {}).get("user") == "sara")
    assert added.detail is not None and added.detail["queues"] == ["otp:send", "webhooks:*"]
    assert changed.detail is not None and changed.detail["queues"] == ["email:send"]


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
def test_only_an_operator_can_be_limited(entrance: Entrance, role: Role) -> None:
    with pytest.raises(InvalidRequest, match=f"queues: a role of {role} is not limited"):
        entrance.users.add(ROOT, "sara", role, PASSWORD, queues=["otp:send"])
    with pytest.raises(InvalidRequest, match="queues: 'webhook:\\*' names no queue"):
        entrance.users.add(ROOT, "sara", Role.OPERATOR, PASSWORD, queues=["webhook:*"])
    assert entrance.users.count() == 0


def test_a_session_that_redis_kept_does_not_outlive_its_user(entrance: Entrance, database: Database) -> None:
    """As if the process had died between the change in SQL and the end of the sessions in Redis."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    kept = cookie(entrance)
    with database.session() as session:
        session.execute(update(AccessUser).values(epoch=AccessUser.epoch + 1))

    assert entrance.by_cookie(kept, is_use=True) is None


@pytest.mark.each_database
def test_a_removed_user_is_not_the_next_one_of_that_name(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    first = entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.remove(ROOT, "sara")
    second = entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)

    assert second.id > first.id


@pytest.mark.each_database
def test_who_is_let_in_or_kept_out_already_stays_as_they_are(entrance: Entrance, trail: Trail) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    kept = cookie(entrance)

    entrance.users.enable(ROOT, "sara")
    assert entrance.by_cookie(kept, is_use=False) is not None

    assert entrance.users.disable(ROOT, "sara") == 1
    before = entrance.users.named("sara")
    assert entrance.users.disable(ROOT, "sara") == 0
    assert entrance.users.named("sara") == before
    done = [(row.action, (row.detail or {}).get("changed")) for row in trail() if row.action.endswith("abled")]
    assert done == [("user.enabled", False), ("user.disabled", None), ("user.disabled", False)]


def test_the_trail_says_how_many_sessions_and_tokens_a_change_ended(entrance: Entrance, trail: Trail) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)

    def ended(change: Callable[[], int | None]) -> tuple[int | None, dict[str, object] | None]:
        cookie(entrance), cookie(entrance)
        number = change()
        return number, trail()[-1].detail

    entrance.tokens.create(ROOT, "one", role=Role.OWNER, scopes=[Operation.READ], life=None, owner="sara")
    assert ended(lambda: entrance.users.set_password(ROOT, "SARA", PASSWORD)) == (
        2,
        {"user": "sara", "sessions_ended": 2, "tokens_revoked": 0},
    )
    assert ended(lambda: entrance.users.set_role(ROOT, "sara", Role.OWNER)) == (
        2,
        {"user": "sara", "role": "OWNER", "queues": ["*"], "sessions_ended": 2, "tokens_revoked": 0},
    )
    assert ended(lambda: entrance.users.remove(ROOT, "sara")) == (
        2,
        {"user": "sara", "sessions_ended": 2, "tokens_revoked": 1},
    )
    assert (trail()[-1].action, trail()[-1].actor) == ("user.removed", "root")


def test_the_trail_says_how_somebody_came_in_and_that_they_left(entrance: Entrance, trail: Trail) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    by_password = entrance.by_cookie(cookie(entrance), is_use=False)
    opened = entrance.sign_on("olga@example.com", Role.OPERATOR, address="10.0.0.2", agent="curl", queues=("otp:send",))
    by_provider = entrance.by_cookie(opened.cookie, is_use=False)
    assert by_password is not None and by_provider is not None and opened.lasts_seconds == 12 * 3_600
    assert (by_provider.operator.role, by_provider.operator.queues) == (Role.OPERATOR, ("otp:send",))
    assert entrance.sessions.of("olga@example.com")[0].way == WayIn("provider", "10.0.0.2", "curl")
    entrance.sign_out(by_provider), entrance.sign_out(by_provider), entrance.sign_out(by_password)

    _, *rows = trail()
    assert [(row.action, row.actor, row.detail or {}) for row in rows] == [
        ("user.signed_in", "sara", {"address": HOME, "how": "password", "role": "OWNER"}),
        (
            "user.signed_in",
            "olga@example.com",
            {"address": "10.0.0.2", "how": "provider", "role": "OPERATOR", "queues": ["otp:send"]},
        ),
        ("user.signed_out", "olga@example.com", {}),
        ("user.signed_out", "sara", {}),
    ]
    assert entrance.current(by_password) is entrance.current(by_provider) is None


def test_who_has_a_name_here_does_not_come_in_by_the_provider_nor_does_a_viewer_where_none_is_let_in(
    entrance: Entrance, trail: Trail
) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)

    for name, role, why in (
        ("SARA", Role.OWNER, "a local user has this name"),
        ("vida@example.com", Role.VIEWER, "viewers are not let in"),
    ):
        with pytest.raises(SignInRefused):
            entrance.sign_on(name, role, address=HOME)
        row = trail()[-1]
        assert (row.action, row.actor, (row.detail or {})["why"]) == ("user.sign_in_refused", name, why)


@pytest.mark.parametrize(("seconds", "is_in"), [(1e9, True), (-1.0, False)])
def test_what_changes_in_sql_alone_is_seen_after_some_seconds(
    entrance: Entrance, database: Database, monkeypatch: pytest.MonkeyPatch, seconds: float, is_in: bool
) -> None:
    monkeypatch.setattr(entrance_module, "_STANDING_SECONDS", seconds)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    kept = cookie(entrance)
    assert entrance.by_cookie(kept, is_use=False) is not None
    with database.session() as session:
        session.execute(update(AccessUser).values(disabled_at=utc_now()))

    assert (entrance.by_cookie(kept, is_use=False) is not None) == is_in


def test_the_last_owner_stays(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)

    for take_away in (
        lambda: entrance.users.disable(ROOT, "sara"),
        lambda: entrance.users.remove(ROOT, "sara"),
        lambda: entrance.users.set_role(ROOT, "sara", Role.VIEWER),
        lambda: entrance.users.set_role(ROOT, "sara", Role.OPERATOR),
    ):
        with pytest.raises(WrongState, match="last owner"):
            take_away()
    entrance.users.disable(ROOT, "vida")
    entrance.users.set_password(ROOT, "sara", "another long password")


@pytest.mark.each_database
def test_two_owners_who_disable_each_other_leave_one(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)

    def disable(name: str) -> bool:
        try:
            entrance.users.disable(ROOT, name)
        except WrongState:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(disable, ("sara", "ali"))) == [False, True]


def test_nobody_of_that_name(entrance: Entrance, trail: Trail) -> None:
    with pytest.raises(UnknownUser, match="no user 'ghost'"):
        entrance.users.disable(ROOT, "ghost")

    assert [(row.action, row.outcome) for row in trail()] == [("user.disabled", "refused")]
    assert (trail()[0].detail or {}).get("user") == "ghost"


@pytest.mark.each_database
def test_an_old_hash_is_made_anew_when_its_user_signs_in(entrance: Entrance, database: Database) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    weak = PasswordHasher(time_cost=1, memory_cost=8_192).hash(PASSWORD)
    with database.session() as session:
        session.execute(update(AccessUser).values(password_hash=weak))

    cookie(entrance)

    found = entrance.users.find("sara")
    assert found is not None and found[1] != weak and found[0].signed_in_at is not None
    assert cookie(entrance)


def test_a_disabled_user_and_an_unwanted_viewer_are_refused_in_the_same_words(entrance: Entrance, trail: Trail) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)
    entrance.users.disable(ROOT, "sara")

    refused = []
    for name, password in (("sara", PASSWORD), ("vida", PASSWORD), ("ali", "wrong"), ("ghost", "wrong")):
        with pytest.raises(SignInRefused) as error:
            entrance.sign_in(name, password, address=HOME)
        refused.append(str(error.value))

    assert len(set(refused)) == 1
    rows = [row for row in trail() if row.action == "user.sign_in_refused"]
    assert [(row.actor, (row.detail or {})["why"]) for row in rows] == [
        ("sara", "disabled"), ("vida", "viewers are not let in"),
        ("ali", "wrong name or password"), (None, "wrong name or password"),
    ]  # fmt: skip


def test_a_viewer_leaves_when_viewers_are_no_more_let_in(new_entrance: NewEntrance) -> None:
    open_house = new_entrance(viewers_allowed=True)
    open_house.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)
    kept = cookie(open_house, "vida")

    assert open_house.by_cookie(kept, is_use=True) is not None
    assert new_entrance().by_cookie(kept, is_use=True) is None
