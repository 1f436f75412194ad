"""API tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.access.quota import Quota
from teknav_ops.access.token_rows import UnknownToken
from teknav_ops.errors import InvalidRequest, NotAllowed
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AccessToken, AccessUser, AuditLog
from teknav_ops.storage.tables.base import utc_now
from tests.access.conftest import PASSWORD, ROOT, NewEntrance


def create(entrance: Entrance, name: str = "ci", **options: Any) -> str:
    options = {"role": Role.OWNER, "scopes": [Operation.READ], "life": timedelta(days=1), **options}
    return entrance.tokens.create(ROOT, name, **options)[0]


def test_a_token_is_known_by_its_secret_and_kept_only_as_a_hash(
    entrance: Entrance, database: Database, trail: Callable[[], list[AuditLog]]
) -> None:
    secret = create(entrance)

    identity = entrance.by_token(secret)
    assert identity is not None and (identity.operator.name, identity.operator.role) == ("token:ci", Role.OWNER)
    assert identity.may(Operation.READ) and identity.may(Operation.READ_PAYLOADS)
    assert not identity.may(Operation.ACT) and not identity.may(Operation.ADMINISTER)
    assert entrance.by_token(secret[:-1]) is None
    for nobodys in ("", "tko_", "tko_\ud800", secret.removeprefix("tko_")):
        assert entrance.by_token(nobodys) is None
    with database.reading() as session:
        row = session.scalars(select(AccessToken)).one()
    assert secret.startswith(row.beginning) and len(row.beginning) == 8
    assert secret not in str(vars(row)) and secret not in str([vars(entry) for entry in trail()])


@pytest.mark.each_database
def test_an_expired_and_a_revoked_token_are_nobody(entrance: Entrance, database: Database) -> None:
    expired, revoked = create(entrance, "old"), create(entrance, "stolen")
    with database.session() as session:
        session.execute(
            update(AccessToken).where(AccessToken.name == "old").values(expires_at=utc_now() - timedelta(seconds=1))
        )
    assert entrance.by_token(revoked) is not None
    entrance.tokens.revoke(ROOT, "stolen")

    assert entrance.by_token(expired) is entrance.by_token(revoked) is None
    assert {token.name: token.state for token in entrance.tokens.page().items} == {
        "old": "expired",
        "stolen": "revoked",
    }
    for name in ("stolen", "none"):
        with pytest.raises(UnknownToken, match=f"name: there is no live token {name!r}"):
            entrance.tokens.revoke(ROOT, name)


def test_the_trail_says_what_became_of_a_token(entrance: Entrance, trail: Callable[[], list[AuditLog]]) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    _, token = entrance.tokens.create(
        ROOT,
        "ci",
        role=None,
        scopes=[Operation.READ, Operation.ACT, Operation.READ],
        life=timedelta(days=2),
        owner="Sara",
    )
    create(entrance, "eternal", life=None)
    entrance.tokens.revoke(ROOT, "ci")

    _, made, eternal, revoked = trail()
    assert token.expires_at is not None and (made.action, made.actor) == ("token.created", "root")
    assert made.detail == {
        "token": "ci",
        "owner": "Sara",
        "expires_at": token.expires_at.isoformat(),
        "role": "OPERATOR",
        "scopes": ["act", "read"],
        "queues": ["*"],
        "jobs_per_minute": None,
        "backlog_limit": None,
    }
    assert abs(token.expires_at - token.created_at - timedelta(days=2)) < timedelta(minutes=10)
    assert (token.owner, token.created_by, token.state, token.revoked_at) == ("sara", "root", "live", None)
    assert eternal.detail is not None and eternal.detail["expires_at"] is None
    assert (revoked.action, revoked.actor, revoked.detail) == ("token.revoked", "root", {"token": "ci"})


def test_open_connections_end_with_a_token_that_is_revoked_or_over_and_with_no_other(
    entrance: Entrance, database: Database
) -> None:
    identities = {}
    for name in ("kept", "stolen", "old"):
        identities[name] = entrance.by_token(create(entrance, name))
    every = [identity for identity in identities.values() if identity is not None]
    assert entrance.still_in(every) == set(every) and len(every) == 3
    entrance.tokens.revoke(ROOT, "stolen")
    with database.session() as session:
        session.execute(update(AccessToken).where(AccessToken.name == "old").values(expires_at=utc_now()))

    assert entrance.still_in(every) == {identities["kept"]}


@pytest.mark.each_database
def test_a_revoked_tokens_name_is_free_again_and_a_live_ones_is_not(entrance: Entrance) -> None:
    first = create(entrance)
    with pytest.raises(InvalidRequest, match="there is a token 'ci' already"):
        create(entrance)
    entrance.tokens.revoke(ROOT, "ci")
    second = create(entrance)

    assert entrance.by_token(first) is None
    assert entrance.by_token(second) is not None
    assert [token.revoked_at is None for token in entrance.tokens.page().items] == [True, False]


@pytest.mark.each_database
def test_the_first_tokens_are_those_that_are_not_revoked(entrance: Entrance) -> None:
    for name in ("kept", "gone", "newest"):
        create(entrance, name=name)
    entrance.tokens.revoke(ROOT, "gone")

    assert [token.name for token in entrance.tokens.page(limit=2).items] == ["newest", "kept"]
    assert entrance.tokens.page(limit=3).next_cursor is None
    assert (entrance.tokens.page(limit=9).items[-1].name, entrance.tokens.page().total_count) == ("gone", 3)


@pytest.mark.each_database
def test_tokens_are_listed_a_page_at_a_time_and_none_is_left_out_while_others_are_revoked(entrance: Entrance) -> None:
    for number in range(6):
        create(entrance, name=f"t{number}")
    entrance.tokens.revoke(ROOT, "t4")
    entrance.tokens.revoke(ROOT, "t0")

    page, listed = entrance.tokens.page(limit=1), []
    while page.next_cursor is not None:
        listed += page.items
        if len(listed) == 2:
            entrance.tokens.revoke(ROOT, "t2")
        page = entrance.tokens.page(limit=1, cursor=page.next_cursor)
    listed += page.items

    assert [token.name for token in listed] == ["t5", "t3", "t1", "t4", "t2", "t0"]
    assert page.total_count == 6
    for wrong in ("", "live_", "gone_1", "live_1; DROP", f"live_{10**19}"):
        with pytest.raises(InvalidRequest, match="cursor: "):
            entrance.tokens.page(cursor=wrong)


@pytest.mark.parametrize(
    ("scopes", "viewers_allowed", "role"),
    [
        ([Operation.READ, Operation.METRICS], True, Role.VIEWER),
        ([Operation.READ], False, Role.OPERATOR),
        ([Operation.METRICS, Operation.ACT], True, Role.OPERATOR),
        ([Operation.READ, Operation.ENQUEUE], True, Role.OWNER),
    ],
)
def test_a_token_has_the_least_role_that_its_scopes_need_and_that_is_let_in(
    new_entrance: NewEntrance, scopes: list[Operation], viewers_allowed: bool, role: Role
) -> None:
    entrance = new_entrance(viewers_allowed=viewers_allowed)

    identity = entrance.by_token(create(entrance, role=None, scopes=scopes))

    assert identity is not None and identity.operator.role is role
    assert all(identity.may(scope) for scope in scopes)
    assert identity.may(Operation.READ_PAYLOADS) == (role is Role.OWNER)


@pytest.mark.each_database
def test_use_is_noted_coarsely(entrance: Entrance, database: Database) -> None:
    secret = create(entrance)
    create(entrance, name="idle")
    entrance.by_token(secret)
    assert entrance.tokens.page().items[0].last_used_at is None
    entrance.tokens.revoke(ROOT, "idle")
    first = entrance.tokens.page().items[0].last_used_at
    entrance.by_token(secret)
    assert first is not None and entrance.tokens.page().items[0].last_used_at == first

    with database.session() as session:
        used = update(AccessToken).where(AccessToken.name == "ci")
        session.execute(used.values(last_used_at=first - timedelta(minutes=6)))
    entrance.by_token(secret)
    again = entrance.tokens.page().items[0].last_used_at
    assert again is not None and again >= first
    assert entrance.tokens.page().items[1].last_used_at is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "CI bot"}, "name: "),
        ({"scopes": []}, "scope: name one"),
        ({"scopes": [Operation.ADMINISTER]}, "cannot be given to a token"),
        ({"role": Role.VIEWER, "scopes": [Operation.ACT]}, "a VIEWER may not act"),
        ({"life": timedelta(0)}, "expires: "),
        ({"life": timedelta(days=3_650, microseconds=1)}, "expires: must be between 0 and 3650 days"),
        ({"queues": ["webhook:*"]}, "queues: 'webhook:\\*' names no queue"),
        ({"jobs_per_minute": 5}, "jobs_per_minute: .* give the token the scope enqueue"),
        ({"scopes": [Operation.ENQUEUE], "jobs_per_minute": 0}, "jobs_per_minute: "),
        ({"scopes": [Operation.ENQUEUE], "backlog_limit": 10**9}, "backlog_limit: "),
        ({"owner": "nobody"}, "owner: 'nobody' is no OWNER who may sign in"),
    ],
)
def test_a_wrong_token_is_not_made(entrance: Entrance, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        create(entrance, **options)

    assert entrance.tokens.page().items == []


@pytest.mark.each_database
def test_a_token_is_for_its_queues_only_and_says_so_in_the_trail(
    entrance: Entrance, trail: Callable[[], list[AuditLog]]
) -> None:
    scopes = [Operation.READ, Operation.ACT, Operation.ENQUEUE]
    secret = create(entrance, scopes=scopes, queues=["webhooks:*"], jobs_per_minute=60, backlog_limit=1_000)

    identity = entrance.by_token(secret)
    assert identity is not None
    for operation in (Operation.READ_PAYLOADS, Operation.ACT, Operation.MANAGE, Operation.ENQUEUE):
        assert identity.may(operation, "webhooks:deliver") and not identity.may(operation, "email:send")
        assert not identity.may(operation)
    assert identity.may(Operation.READ, "email:send")
    (token,), (entry,) = entrance.tokens.page().items, trail()
    assert identity.operator.quota == token.quota == Quota(token.id, 60, 1_000)
    assert entry.detail is not None
    kept = {name: entry.detail[name] for name in ("queues", "jobs_per_minute", "backlog_limit")}
    assert kept == {"queues": ["webhooks:*"], "jobs_per_minute": 60, "backlog_limit": 1_000}


LOSSES: dict[str, Callable[[Entrance], object]] = {
    "disabled": lambda entrance: entrance.users.disable(ROOT, "sara"),
    "removed": lambda entrance: entrance.users.remove(ROOT, "sara"),
    "made a viewer": lambda entrance: entrance.users.set_role(ROOT, "sara", Role.VIEWER),
    "made an operator": lambda entrance: entrance.users.set_role(ROOT, "sara", Role.OPERATOR),
}


@pytest.mark.each_database
@pytest.mark.parametrize("loss", LOSSES)
def test_a_token_ends_with_its_owner_whoever_made_it(entrance: Entrance, loss: str) -> None:
    for name in ("sara", "ali"):
        entrance.users.add(ROOT, name, Role.OWNER, PASSWORD)
    # Made at the command line for her, made by herself, and made for somebody else.
    hers = [create(entrance, "one", owner="Sara"), entrance.tokens.create(
        Operator("sara", Role.OWNER), "two", role=Role.OWNER, scopes=[Operation.READ], life=None
    )[0]]  # fmt: skip
    others = [create(entrance, "three", owner="ali"), create(entrance, "four")]
    assert all(entrance.by_token(secret) for secret in (*hers, *others))

    LOSSES[loss](entrance)

    assert [entrance.by_token(secret) is None for secret in (*hers, *others)] == [True, True, False, False]
    # Nor does a user of that name who comes later have them back.
    if loss == "removed":
        entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    else:
        entrance.users.set_role(ROOT, "sara", Role.OWNER)
        entrance.users.enable(ROOT, "sara")
    assert [entrance.by_token(secret) for secret in hers] == [None, None]


@pytest.mark.parametrize("change", [{"role": "OPERATOR"}, {"disabled_at": datetime(2026, 1, 1, tzinfo=UTC)}, None])
def test_a_token_that_was_not_revoked_is_worth_nothing_without_its_owner(
    entrance: Entrance, database: Database, change: dict[str, Any] | None
) -> None:
    """As if somebody's hand had changed the user in SQL; an open socket of the token ends, too."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    secret = create(entrance, owner="sara")
    identity = entrance.by_token(secret)
    assert identity is not None and entrance.still_in([identity]) == {identity}
    with database.session() as session:
        session.execute(delete(AccessUser) if change is None else update(AccessUser).values(**change))

    assert entrance.by_token(secret) is None and entrance.still_in([identity]) == set()
    assert entrance.tokens.page().items[0].state == "owner gone"


def test_a_disabled_user_owns_no_new_token(entrance: Entrance) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    entrance.users.disable(ROOT, "sara")
    with pytest.raises(InvalidRequest, match="owner: 'sara' is no OWNER"):
        create(entrance, owner="sara")
    assert entrance.tokens.page().items == []


def test_only_an_owner_makes_tokens(entrance: Entrance) -> None:
    with pytest.raises(NotAllowed):
        entrance.tokens.create(Operator("vida", Role.VIEWER), "x", role=Role.OWNER, scopes=[Operation.READ], life=None)


def test_a_token_lives_ten_years_at_most(entrance: Entrance) -> None:
    for name, life in (("long", timedelta(days=3_650)), ("short", timedelta(microseconds=1))):
        assert create(entrance, name, life=life)


def test_a_viewers_token_enters_where_viewers_do(new_entrance: NewEntrance) -> None:
    secret = create(new_entrance(), role=Role.VIEWER)

    assert new_entrance().by_token(secret) is None
    identity = new_entrance(viewers_allowed=True).by_token(secret)
    assert identity is not None and not identity.may(Operation.READ_PAYLOADS)
