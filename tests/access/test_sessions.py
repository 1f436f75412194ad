"""Sessions in Redis."""

from __future__ import annotations

import redis

from teknav_ops.access.policy import Role
from teknav_ops.access.sessions import NewSession, Sessions
from teknav_ops.redis_state import keys


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


def test_everything_expires(client: redis.Redis) -> None:
    opened(sessions(client))

    assert client.keys("*")
    assert all(client.pttl(key) > 0 for key in client.keys("*"))


def test_a_session_ends_everywhere_at_once(client: redis.Redis) -> None:
    here, elsewhere = sessions(client), sessions(client)
    new = opened(here)

    assert elsewhere.end(new.session.id)
    assert here.find(new.cookie, is_use=True) is None
    assert not here.end(new.session.id)


def test_all_of_a_user_end_and_nobody_elses(client: redis.Redis) -> None:
    kept = sessions(client)
    mine, other = [opened(kept, "Sara"), opened(kept, "sara")], opened(kept, "ali")

    assert kept.end_all("SARA") == 2
    assert [kept.find(new.cookie, is_use=True) for new in mine] == [None, None]
    assert kept.find(other.cookie, is_use=True) is not None
    assert kept.end_all("sara") == 0


def test_somebody_who_signs_in_over_and_over_keeps_the_newest_sessions(client: redis.Redis) -> None:
    kept = sessions(client)
    first = opened(kept)
    client.zadd(keys.user_sessions(_listed(client)), {first.session.id: client.time()[0] * 1000 + 10_000})
    for _ in range(100):
        new = opened(kept)

    assert kept.find(first.cookie, is_use=True) is None
    assert kept.find(new.cookie, is_use=True) is not None


def test_looking_at_many_keeps_none_alive(client: redis.Redis) -> None:
    kept = sessions(client)
    one, two = opened(kept), opened(kept)
    client.pexpire(keys.session(one.session.id), 5_000)
    kept.end(two.session.id)

    assert set(kept.find_many([one.session.id, two.session.id])) == {one.session.id}
    assert client.pttl(keys.session(one.session.id)) <= 5_000
    kept.use(one.session.id)
    assert kept.find_many([]) == {}


def test_a_shorter_life_may_be_asked_for(client: redis.Redis) -> None:
    assert opened(sessions(client), hours=12).lasts_seconds == 12 * 3_600


def test_a_record_that_makes_no_sense_is_nobody(client: redis.Redis) -> None:
    kept = sessions(client)
    new = opened(kept)
    client.hset(keys.session(new.session.id), "role", "EMPEROR")

    assert kept.find(new.cookie, is_use=True) is None


def _listed(client: redis.Redis) -> str:
    (key,) = client.keys("teknav:user-sessions:*")
    return str(key).rpartition(":")[2]
