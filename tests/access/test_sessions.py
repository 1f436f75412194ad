"""Sessions in Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import redis

from teknav_ops.access.policy import Role
from teknav_ops.access.sessions import NewSession, OpenSession, Session, Sessions, WayIn
from teknav_ops.access.user_names import name_digest
from teknav_ops.redis_state import keys
from tests.support.virtual_time import ENDS_KEY, Clock


def sessions(client: redis.Redis) -> Sessions:
    return Sessions(client, idle_minutes=480, hours=168)  # type: ignore[arg-type]


def opened(kept: Sessions, name: str = "sara", **options: int) -> NewSession:
    return kept.open(name, Role.OWNER, user_id=1, epoch=1, **options)


def test_a_session_is_found_by_its_cookie_only(client: redis.Redis) -> None:
    kept = sessions(client)
    new = opened(kept, "سارا")

    assert kept.find(new.cookie, is_use=True) == new.session
    assert kept.find(new.session.id, is_use=True) is None
    assert kept.find("", is_use=True) is kept.find("\ud800", is_use=True) is None


def test_redis_holds_nothing_one_could_sign_in_with(client: redis.Redis) -> None:
    new = opened(sessions(client))

    everything = str([(key, client.dump(key)) for key in client.keys("*")])
    assert new.cookie not in everything
    assert new.session.csrf_token and new.session.csrf_token != new.cookie


def test_a_session_ends_after_a_pause_and_in_any_case(client: redis.Redis, clock: Clock) -> None:
    kept = sessions(client)
    new = opened(kept)
    key, listed = keys.session(new.session.id), f"teknav:user-sessions:{_listed(client)}"
    assert new.lasts_seconds == 168 * 3_600
    assert (clock.ends_in_ms(key), clock.ends_in_ms(listed)) == (480 * 60_000, 168 * 3_600_000)

    clock.advance(3_600)
    kept.find(new.cookie, is_use=False), kept.find_many([new.session.id]), kept.of("sara")
    assert clock.ends_in_ms(key) == 420 * 60_000
    for use in (lambda: kept.find(new.cookie, is_use=True), lambda: kept.use(new.session.id)):
        clock.advance(3_600)
        use()
        assert clock.ends_in_ms(key) == 480 * 60_000

    # As if it had been used all the time.
    client.zrem(ENDS_KEY, key)
    clock.advance(165 * 3_600 - 1)
    assert kept.find(new.cookie, is_use=True) == new.session
    clock.advance(1)
    assert kept.find(new.cookie, is_use=True) is None


def test_nothing_is_kept_for_ever(client: redis.Redis) -> None:
    opened(sessions(client))

    assert len(client.keys("*")) == 2
    assert all(client.pttl(key) > 0 for key in client.keys("*"))


def test_a_session_is_shown_as_it_was_opened(client: redis.Redis, clock: Clock) -> None:
    kept = sessions(client)
    way = WayIn("password", "10.0.0.1", "x" * 301)
    new = kept.open("sara", Role.OPERATOR, user_id=7, epoch=3, queues=("webhooks:*", "otp:send"), way=way)
    clock.advance(60)
    kept.use(new.session.id)
    other = kept.open("sara", Role.OPERATOR, user_id=None, epoch=0)
    client.hset(keys.session(opened(kept).session.id), "role", "EMPEROR")

    found = kept.find(new.cookie, is_use=False)
    assert found == new.session
    assert found is not None and (found.user_id, found.epoch, found.queues) == (7, 3, ("webhooks:*", "otp:send"))
    found = kept.find(other.cookie, is_use=False)
    assert found is not None and (found.user_id, found.epoch, found.queues) == (None, 0, ("*",))
    started = datetime.fromtimestamp(clock.now_ms / 1000 - 60, UTC)
    shown = {session.id: session for session in kept.of("Sara")}
    assert shown.keys() == {new.session.id, other.session.id}
    assert shown[new.session.id] == OpenSession(
        new.session.id,
        WayIn("password", "10.0.0.1", "x" * 300),
        started,
        started + timedelta(seconds=60),
        started + timedelta(hours=168),
    )
    assert shown[other.session.id].way == WayIn()
    assert shown[new.session.id].handle == new.session.id[:12]


def test_of_a_record_of_an_earlier_version_the_most_is_made(client: redis.Redis) -> None:
    kept = sessions(client)
    new = opened(kept)
    client.hdel(
        keys.session(new.session.id), "csrf", "user_id", "epoch", "queues", "is_proved", "how", "address", "agent"
    )

    found = kept.find(new.cookie, is_use=False)
    assert found == Session(new.session.id, "sara", Role.OWNER, "", None, 0)
    assert found.proved_ago_ms is None
    assert [session.way for session in kept.of("sara")] == [WayIn()]


def test_how_long_ago_its_person_proved_who_they_are(client: redis.Redis, clock: Clock) -> None:
    kept = sessions(client)
    proved, unproved = opened(kept), opened(kept, is_proved=False)

    def ago_ms(new: NewSession) -> int | None:
        found = kept.find(new.cookie, is_use=False)
        assert found is not None
        return found.proved_ago_ms

    clock.advance(2.5)
    assert (ago_ms(proved), ago_ms(unproved)) == (2_500, None)
    assert kept.prove(unproved.session.id) and kept.prove(proved.session.id)
    clock.advance(1)
    assert (ago_ms(proved), ago_ms(unproved)) == (1_000, 1_000)
    kept.end(proved.session.id)
    assert not kept.prove(proved.session.id) and kept.find(proved.cookie, is_use=False) is None


def test_a_session_is_carried_over_into_the_new_epoch_of_its_user(client: redis.Redis) -> None:
    kept = sessions(client)
    new = opened(kept)

    assert kept.carry_over(new.session.id, epoch=2)
    found = kept.find(new.cookie, is_use=False)
    assert found is not None and found.epoch == 2
    kept.end(new.session.id)
    assert not kept.carry_over(new.session.id, epoch=3) and kept.find(new.cookie, is_use=False) is None


def test_the_last_used_session_is_shown_first(client: redis.Redis, clock: Clock) -> None:
    kept = sessions(client)
    ids = []
    for _ in range(3):
        ids.append(opened(kept).session.id)
        clock.advance(60)
    kept.use(ids[0])

    assert [session.id for session in kept.of("sara")] == [ids[0], ids[2], ids[1]]


def test_a_session_ends_everywhere_at_once(client: redis.Redis) -> None:
    here, elsewhere = sessions(client), sessions(client)
    new = opened(here)

    assert elsewhere.end(new.session.id)
    assert here.find(new.cookie, is_use=True) is None
    assert not here.end(new.session.id)


def test_all_of_a_user_end_and_nobody_elses(client: redis.Redis) -> None:
    kept = sessions(client)
    mine, other = [opened(kept, "Sara"), opened(kept, "sara")], opened(kept, "ali")

    assert kept.end_all("SARA", but=mine[1].session.id) == 1
    assert [session.id for session in kept.of("sara")] == [mine[1].session.id]
    assert kept.end_all("SARA") == 1
    assert [kept.find(new.cookie, is_use=True) for new in mine] == [None, None]
    assert kept.find(other.cookie, is_use=True) is not None
    assert kept.end_all("sara") == 0
    assert client.keys("teknav:user-sessions:*") == [f"teknav:user-sessions:{name_digest('ali')}"]


def test_somebody_who_signs_in_over_and_over_keeps_the_newest_sessions(client: redis.Redis) -> None:
    kept = sessions(client)
    first = opened(kept)
    client.zadd(keys.user_sessions(_listed(client)), {first.session.id: client.time()[0] * 1000 + 10_000})
    others = [opened(kept) for _ in range(99)]
    assert kept.find(first.cookie, is_use=True) is not None
    new = opened(kept)

    assert kept.find(first.cookie, is_use=True) is None
    assert {session.id for session in kept.of("sara")} == {one.session.id for one in (*others, new)}
    assert client.zcard(keys.user_sessions(_listed(client))) == 100
    assert kept.find(new.cookie, is_use=True) is not None


def test_looking_at_many_keeps_none_alive(client: redis.Redis) -> None:
    kept = sessions(client)
    one, two = opened(kept), opened(kept)
    client.pexpire(keys.session(one.session.id), 5_000)
    kept.end(two.session.id)

    assert set(kept.find_many([one.session.id, two.session.id])) == {one.session.id}
    assert client.pttl(keys.session(one.session.id)) <= 5_000
    assert kept.find_many([]) == {}


def test_a_shorter_life_may_be_asked_for(client: redis.Redis) -> None:
    kept = sessions(client)

    assert opened(kept, hours=12).lasts_seconds == 12 * 3_600
    assert opened(kept, hours=200).lasts_seconds == 168 * 3_600


def test_a_record_that_makes_no_sense_is_nobody(client: redis.Redis) -> None:
    kept = sessions(client)
    new = opened(kept)
    client.hset(keys.session(new.session.id), "role", "EMPEROR")

    assert kept.find(new.cookie, is_use=True) is None


def _listed(client: redis.Redis) -> str:
    (key,) = client.keys("teknav:user-sessions:*")
    return str(key).rpartition(":")[2]
