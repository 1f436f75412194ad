"""The second factor: set up, asked for, used once, guessed at, lost and taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text, update

from teknav_ops.access import second_factor, totp
from teknav_ops.access.attempts import PER_CODE, TooManyAttempts
from teknav_ops.access.entrance import Entrance
from teknav_ops.access.freshness import FreshSignInNeeded
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.access.second_step import ChallengeOver, CodeNeeded, CodeRefused
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidPayload, InvalidRequest, NotAllowed, StorageRefused, StorageUnavailable, WrongState
from teknav_ops.redis_state import keys
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AccessRecoveryCode, AccessTotp, AccessUser, AuditLog
from teknav_ops.storage.tables.base import utc_now
from tests.access.conftest import PASSWORD, ROOT, NewEntrance
from tests.support.redis_server import RedisServer
from tests.support.sql_moments import at_commit_of

Trail = Callable[[], list[AuditLog]]
HOME = "10.0.0.1"


class App:
    """An authenticator app, and the clock that it and the server go by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.key = 1_772_366_400.0, ""
        monkeypatch.setattr(second_factor.time, "time", lambda: self.now)

    def code(self) -> str:
        return totp.code_of(self.key, int(self.now // 30))

    def next_code(self) -> str:
        self.now += 30
        return self.code()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    return App(monkeypatch)


def signed_in(entrance: Entrance, name: str = "sara") -> Identity:
    """The identity of who signs in with the password alone."""
    identity = entrance.by_cookie(entrance.sign_in(name, PASSWORD, address=HOME).cookie, is_use=False)
    assert identity is not None
    return identity


def signed_in_by_code(entrance: Entrance, name: str, code: str) -> Identity:
    """The identity of who signs in with the password and a code."""
    with pytest.raises(CodeNeeded) as asked:
        entrance.sign_in(name, PASSWORD, address=HOME)
    opened = entrance.sign_in_by_code(asked.value.challenge, code, address=HOME)
    identity = entrance.by_cookie(opened.cookie, is_use=False)
    assert identity is not None
    return identity


@pytest.fixture
def codes(entrance: Entrance, app: App) -> list[str]:
    """Sara's recovery codes: her second factor is on."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key
    return entrance.own.finish_second_factor(sara, app.code())


def test_recovery_codes_are_told_though_redis_goes_away_as_the_factor_is_turned_on(
    own_server: RedisServer, database: Database, app: App, tmp_path: Path
) -> None:
    """They are kept nowhere, so that an error in their place would lose them."""
    client = own_server.client()
    entrance = Entrance(Settings(data_dir=tmp_path), client, OperatorLog(database))  # type: ignore[arg-type]
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key

    with at_commit_of(database, "UPDATE access_totp ", own_server.kill):
        told = entrance.own.finish_second_factor(sara, app.code())
    own_server.start()

    factor = entrance.own.second_factor(sara)
    assert factor is not None and factor.recovery_codes_left == len(told) > 0


@pytest.mark.each_database
def test_nobodys_factor_is_touched_by_anybody_elses(entrance: Entrance, app: App, codes: list[str]) -> None:
    sara = signed_in_by_code(entrance, "sara", app.next_code())
    entrance.users.add(ROOT, "omid", Role.OWNER, PASSWORD)
    entrance.users.add(ROOT, "vida", Role.OWNER, PASSWORD)
    omid, vida, of_sara = signed_in(entrance, "omid"), signed_in(entrance, "vida"), app.key
    app.key = of_vida = entrance.own.begin_second_factor(vida).key
    app.key = of_omid = entrance.own.begin_second_factor(omid).key
    omids = entrance.own.finish_second_factor(omid, app.code())
    app.key = of_vida
    entrance.own.finish_second_factor(vida, app.code())

    app.key, app.now = of_sara, app.now + 30
    used = app.code()
    signed_in_by_code(entrance, "sara", used)
    for wrong in (used, omids[0]):
        with pytest.raises(CodeRefused):
            signed_in_by_code(entrance, "sara", wrong)
    signed_in_by_code(entrance, "sara", codes[0])
    app.key = of_omid
    omid = signed_in_by_code(entrance, "omid", app.code())

    left = [entrance.own.second_factor(who) for who in (sara, omid, vida)]
    assert [factor and factor.recovery_codes_left for factor in left] == [len(codes) - 1, len(omids), len(omids)]
    entrance.factors.reset(ROOT, "sara")
    assert [entrance.own.second_factor(who) is not None for who in (omid, vida)] == [True, True]


def test_no_factor_is_on_without_recovery_codes(entrance: Entrance, app: App, database: Database) -> None:
    """As if the process had died before they were written."""
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key
    with database.session() as session:
        session.execute(text("DROP TABLE access_recovery_code"))

    with pytest.raises(StorageRefused):
        entrance.own.finish_second_factor(sara, app.code())

    with database.reading() as session:
        assert session.scalars(select(AccessTotp.confirmed_at)).one() is None


@pytest.mark.parametrize("made", ["factor", "recovery codes", "token", "link"])
def test_what_is_told_once_is_told_though_the_database_goes_away_before_its_end_is_on_record(
    entrance: Entrance, app: App, trail: Trail, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key
    if made == "recovery codes":
        entrance.own.finish_second_factor(sara, app.code())
    make: dict[str, Callable[[], object]] = {
        "factor": lambda: entrance.own.finish_second_factor(sara, app.code())[0],
        "recovery codes": lambda: entrance.own.new_recovery_codes(sara)[0],
        "token": lambda: entrance.tokens.create(ROOT, "ci", role=None, scopes=[Operation.ENQUEUE], life=None)[0],
        "link": lambda: entrance.links.for_user(ROOT, "sara"),
    }

    def be_away(*_: object) -> None:
        raise StorageUnavailable("the database does not answer")

    with monkeypatch.context() as away:
        away.setattr(OperatorLog, "_settle", be_away)
        told = str(make[made]())

    assert trail()[-1].outcome == "requested"
    if made == "token":
        assert entrance.by_token(told) is not None
    elif made == "link":
        assert entrance.links.look(told) is not None
    else:
        entrance.sign_in_by_code(challenge(entrance), told, address=HOME)


def test_a_code_turns_on_the_key_of_its_app_and_none_of_another_window(
    entrance: Entrance, app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key
    matching = totp.matching_step

    def and_meanwhile(*args: object) -> int | None:
        entrance.own.begin_second_factor(sara)
        return matching(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(totp, "matching_step", and_meanwhile)

    with pytest.raises(WrongState, match="another window"):
        entrance.own.finish_second_factor(sara, app.code())

    assert entrance.own.second_factor(sara) is None


def challenge(entrance: Entrance, name: str = "sara") -> str:
    """What the first step of signing in answers."""
    with pytest.raises(CodeNeeded) as asked:
        entrance.sign_in(name, PASSWORD, address=HOME)
    return asked.value.challenge


@pytest.mark.each_database
def test_with_a_factor_a_password_is_half_of_a_sign_in(
    entrance: Entrance, app: App, codes: list[str], trail: Trail
) -> None:
    asked = challenge(entrance)

    opened = entrance.sign_in_by_code(asked, app.next_code(), address=HOME)

    assert entrance.by_cookie(opened.cookie, is_use=False) is not None
    assert trail()[-1].detail["how"] == "password and code"
    with pytest.raises(ChallengeOver):
        entrance.sign_in_by_code(asked, app.next_code(), address=HOME)


def test_a_right_password_is_hashed_anew_where_it_must_also_before_a_second_step_and_when_proved_again(
    entrance: Entrance, app: App, database: Database
) -> None:
    from argon2 import PasswordHasher

    outdated = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)

    def kept(new: str | None = None) -> str:
        with database.session() as session:
            if new is not None:
                session.execute(update(AccessUser).values(password_hash=new))
            return session.scalars(select(AccessUser.password_hash)).one()

    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    kept(outdated)
    entrance.own.confirm(sara, PASSWORD)
    assert kept() != outdated
    app.key = entrance.own.begin_second_factor(sara).key
    entrance.own.finish_second_factor(sara, app.code())
    kept(outdated)
    with pytest.raises(CodeNeeded):
        entrance.sign_in("sara", PASSWORD, address=HOME)
    assert kept() != outdated
    challenge(entrance)


@pytest.mark.each_database
def test_no_code_is_accepted_twice_nor_one_from_before_it(entrance: Entrance, app: App, codes: list[str]) -> None:
    with pytest.raises(CodeRefused):
        entrance.sign_in_by_code(challenge(entrance), app.code(), address=HOME)  # It has turned the factor on.
    before = app.next_code()
    entrance.sign_in_by_code(challenge(entrance), app.next_code(), address=HOME)

    for used in (app.code(), before):
        with pytest.raises(CodeRefused):
            entrance.sign_in_by_code(challenge(entrance), used, address=HOME)
    entrance.sign_in_by_code(challenge(entrance), app.next_code(), address=HOME)


@pytest.mark.each_database
def test_a_recovery_code_signs_in_once(entrance: Entrance, app: App, codes: list[str], trail: Trail) -> None:
    assert len(set(codes)) == 10

    entrance.sign_in_by_code(challenge(entrance), f" {codes[0].lower().replace('-', ' ')} ", address=HOME)

    assert trail()[-1].detail["how"] == "password and recovery code"
    with pytest.raises(CodeRefused):
        entrance.sign_in_by_code(challenge(entrance), codes[0], address=HOME)
    user = entrance.users.named("sara")
    factor = entrance.factors.of(user.id)
    assert factor is not None and factor.recovery_codes_left == 9
    fresh = entrance.factors.new_recovery_codes(user.id, "sara")
    assert (trail()[-1].action, trail()[-1].actor, trail()[-1].detail) == (
        "user.recovery_codes_made",
        "sara",
        {"user": "sara"},
    )
    with pytest.raises(CodeRefused):
        entrance.sign_in_by_code(challenge(entrance), codes[1], address=HOME)
    entrance.sign_in_by_code(challenge(entrance), fresh[1], address=HOME)


def test_recovery_codes_are_of_80_bits_in_groups_of_four(codes: list[str]) -> None:
    assert all(re.fullmatch("[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", code) for code in codes)


def test_codes_are_their_users_only(entrance: Entrance, app: App, codes: list[str]) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    ali, sara = entrance.users.named("ali").id, entrance.users.named("sara").id
    assert entrance.factors.accept(ali, app.next_code()) is entrance.factors.accept(ali, codes[0]) is None
    key = entrance.factors.begin(ali, "ali").key
    assert entrance.factors.of(ali) is None
    entrance.users.add(ROOT, "omid", Role.OWNER, PASSWORD)
    entrance.factors.begin(entrance.users.named("omid").id, "omid")
    assert entrance.factors.begun(ali, "ali").key == key, "what somebody else begins voids nothing"
    assert entrance.factors.accept(ali, totp.code_of(key, int(app.now // 30))) is None, "it is only begun"
    alis = entrance.factors.confirm(ali, "ali", totp.code_of(key, int(app.now // 30)))

    for user_id, typed in ((ali, app.code()), (ali, codes[0]), (sara, alis[0]), (sara, "\ud800"), (sara, "")):
        assert entrance.factors.accept(user_id, typed) is None
    assert (entrance.factors.accept(sara, app.code()), entrance.factors.accept(ali, alis[0])) == (
        "code",
        "recovery code",
    )
    for user_id, left in ((sara, 10), (ali, 9)):
        factor = entrance.factors.of(user_id)
        assert factor is not None and factor.recovery_codes_left == left
    entrance.factors.new_recovery_codes(sara, "sara")
    entrance.factors.turn_off(sara, "sara")
    assert entrance.factors.of(sara) is None and entrance.factors.accept(ali, alis[1]) == "recovery code"


def test_a_factor_says_since_when_it_is_on_and_how_many_recovery_codes_are_left(
    entrance: Entrance, codes: list[str]
) -> None:
    sara = entrance.users.named("sara").id
    for left in range(9, -1, -1):
        assert entrance.factors.accept(sara, codes[left]) == "recovery code"
        factor = entrance.factors.of(sara)
        assert factor is not None and factor.recovery_codes_left == left
        assert abs(factor.since - utc_now()) < timedelta(minutes=10)


def test_what_is_off_has_no_recovery_codes_and_what_is_on_is_not_begun(
    entrance: Entrance, app: App, codes: list[str], trail: Trail
) -> None:
    sara = entrance.users.named("sara").id
    assert [(row.action, row.actor, row.detail) for row in trail()][-1] == (
        "user.second_factor_on",
        "sara",
        {"user": "sara"},
    )
    with pytest.raises(WrongState, match="none is being set up"):
        entrance.factors.begun(sara, "sara")

    entrance.factors.turn_off(sara, "sara")

    assert (trail()[-1].action, trail()[-1].actor, trail()[-1].detail) == (
        "user.second_factor_off",
        "sara",
        {"user": "sara"},
    )
    with pytest.raises(WrongState, match="it is off"):
        entrance.factors.new_recovery_codes(sara, "sara")
    with pytest.raises(WrongState, match="none is being set up"):
        entrance.factors.begun(sara, "sara")


@pytest.mark.parametrize("typed", ["", "abc", "12345", "\ud800"])
def test_what_is_no_code_turns_nothing_on(entrance: Entrance, app: App, typed: str) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = entrance.users.named("sara").id
    begun = entrance.factors.begin(sara, "sara")

    with pytest.raises(InvalidRequest, match="code: this is not the app's present code"):
        entrance.factors.confirm(sara, "sara", typed)
    assert entrance.factors.of(sara) is None and entrance.factors.begun(sara, "sara") == begun
    assert begun.uri == totp.uri_of(begun.key, "sara")


def test_codes_cannot_be_guessed_on_and_on_and_a_right_password_clears_no_count(
    entrance: Entrance, app: App, codes: list[str]
) -> None:
    for _ in range(PER_CODE.free_count + 1):
        with pytest.raises(CodeRefused):
            entrance.sign_in_by_code(challenge(entrance), "000000", address=HOME)

    with pytest.raises(TooManyAttempts):
        entrance.sign_in_by_code(challenge(entrance), app.next_code(), address="10.9.9.9")


def test_nothing_that_is_kept_gives_a_factor_away(
    entrance: Entrance, app: App, codes: list[str], database: Database, client: redis.Redis, trail: Trail
) -> None:
    asked = challenge(entrance)
    with database.reading() as session:
        rows = [session.scalars(select(AccessTotp)).one(), *session.scalars(select(AccessRecoveryCode))]
        kept = str([vars(row) for row in rows]) + str([row.detail for row in trail()])
    kept += str([(key, client.dump(key)) for key in client.keys("*")])

    assert app.key not in kept and asked not in kept
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)


def test_a_key_that_is_copied_to_another_user_opens_nothing(
    entrance: Entrance, app: App, codes: list[str], database: Database
) -> None:
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    other, sara = entrance.users.named("ali").id, entrance.users.named("sara").id
    with database.session() as session:
        session.execute(update(AccessTotp).where(AccessTotp.user_id == sara).values(user_id=other))

    with pytest.raises(InvalidPayload):
        entrance.sign_in_by_code(challenge(entrance, "ali"), app.next_code(), address=HOME)


def test_a_link_stands_for_the_password_only(entrance: Entrance, app: App, codes: list[str], trail: Trail) -> None:
    with pytest.raises(CodeNeeded) as asked:
        entrance.sign_in_by_link(entrance.links.for_user(ROOT, "sara"), address=HOME)

    entrance.sign_in_by_code(asked.value.challenge, app.next_code(), address=HOME)
    assert trail()[-1].detail["how"] == "link and code"


def test_a_challenge_ends_with_a_change_of_its_user_and_after_some_minutes(
    entrance: Entrance, app: App, codes: list[str], client: redis.Redis
) -> None:
    asked = challenge(entrance)
    (kept,) = client.keys("teknav:sign-in-challenge:*")
    assert 0 < client.pttl(kept) <= 300_000
    entrance.users.set_password(ROOT, "sara", "another long password")

    for wrong in (asked, "", "x" * 43):
        with pytest.raises(ChallengeOver):
            entrance.sign_in_by_code(wrong, app.next_code(), address=HOME)


def test_a_factor_that_was_only_begun_is_not_asked_for_and_the_next_beginning_voids_it(
    entrance: Entrance, app: App
) -> None:
    entrance.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    sara = signed_in(entrance)
    app.key = entrance.own.begin_second_factor(sara).key
    signed_in(entrance)
    entrance.own.begin_second_factor(sara)

    with pytest.raises(InvalidRequest, match="code: "):
        entrance.own.finish_second_factor(sara, app.code())


def test_only_a_fresh_session_changes_its_factor(
    entrance: Entrance, app: App, codes: list[str], client: redis.Redis
) -> None:
    opened = entrance.sign_in_by_code(challenge(entrance), app.next_code(), address=HOME)
    client.hset(keys.session(opened.session.id), "is_proved", 0)
    stale = entrance.by_cookie(opened.cookie, is_use=False)
    assert stale is not None

    for change in (
        entrance.own.begin_second_factor,
        entrance.own.end_second_factor,
        entrance.own.new_recovery_codes,
        lambda identity: entrance.own.finish_second_factor(identity, app.code()),
    ):
        with pytest.raises(FreshSignInNeeded):
            change(stale)

    # A code proves it as the password does.
    entrance.own.confirm(stale, app.next_code())
    fresh = entrance.current(stale)
    assert fresh is not None
    with pytest.raises(WrongState, match="turn it off first"):
        entrance.own.begin_second_factor(fresh)
    entrance.own.end_second_factor(fresh)
    signed_in(entrance)


def test_an_owner_takes_a_lost_factor_away_and_a_removed_user_leaves_none(
    entrance: Entrance, app: App, codes: list[str], trail: Trail, database: Database
) -> None:
    with pytest.raises(NotAllowed, match="administer"):
        entrance.factors.reset(Operator("omid", Role.OPERATOR), "sara")
    with pytest.raises(UnknownUser, match="nobody"):
        entrance.factors.reset(ROOT, "nobody")
    entrance.factors.reset(ROOT, "Sara")

    assert (trail()[-1].action, trail()[-1].actor, trail()[-1].detail) == (
        "user.second_factor_reset",
        "root",
        {"user": "sara"},
    )
    sara = signed_in(entrance)
    with pytest.raises(WrongState, match="sara has none"):
        entrance.factors.reset(ROOT, "sara")
    app.key = entrance.own.begin_second_factor(sara).key
    entrance.own.finish_second_factor(sara, app.code())
    entrance.users.add(ROOT, "ali", Role.OWNER, PASSWORD)
    entrance.users.remove(ROOT, "sara")
    with database.reading() as session:
        assert not session.scalars(select(AccessTotp)).all() and not session.scalars(select(AccessRecoveryCode)).all()


def test_where_owners_need_one_they_set_it_up_as_they_sign_in(
    new_entrance: NewEntrance, app: App, client: redis.Redis
) -> None:
    strict = new_entrance(owners_need_second_factor=True, viewers_allowed=True)
    strict.users.add(ROOT, "sara", Role.OWNER, PASSWORD)
    strict.users.add(ROOT, "vida", Role.VIEWER, PASSWORD)
    signed_in(strict, "vida")
    with pytest.raises(CodeNeeded) as asked:
        strict.sign_in("sara", PASSWORD, address=HOME)
    assert asked.value.is_set_up
    app.key = strict.second_step.begin_set_up(asked.value.challenge, anew=True).key
    with pytest.raises(InvalidRequest):
        strict.sign_in_by_set_up(asked.value.challenge, "000000", address=HOME)
    assert strict.second_step.begin_set_up(asked.value.challenge, anew=False).key == app.key

    opened, codes = strict.sign_in_by_set_up(asked.value.challenge, app.code(), address=HOME)

    assert opened is not None
    sara = strict.by_cookie(opened.cookie, is_use=False)
    assert sara is not None and len(codes) == 10
    with pytest.raises(WrongState, match="owners need one"):
        strict.own.end_second_factor(sara)
    strict.factors.turn_off(strict.users.named("vida").id, "vida")
    assert not client.keys("teknav:sign-in-challenge:*")
    strict.sign_in_by_code(challenge(strict), app.next_code(), address=HOME)
