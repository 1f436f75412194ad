"""An event reaches each endpoint that asked for its type, once, whatever breaks on the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.engine import submission
from teknav_ops.errors import IdempotencyConflict, InvalidPayload, InvalidRequest, RedisUnavailable
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.webhook_events import publish_event
from tests.support.databases import migrate

KEYS = QueueKeys("webhooks:deliver")
AT = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ["article.published", "article.edited", "user.joined"]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'r.sqlite3'}"
    migrate(url)
    return Database.open(url)


@pytest.fixture
def control(client: redis.Redis, database: Database, cipher: Cipher) -> Control:
    return Control(client, Operator("sara", Role.OWNER), OperatorLog(database), cipher=cipher)  # type: ignore[arg-type]


@pytest.fixture
def platform(client: redis.Redis, cipher: Cipher) -> Producer:
    return Producer(client, cipher=cipher, timeout_seconds=1)  # type: ignore[arg-type]


def payloads(client: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(client.hget(KEYS.job(job_id), "payload") or "") for job_id in client.lrange(KEYS.waiting, 0, -1)]


@settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    endpoints=st.lists(st.tuples(st.lists(st.sampled_from(TYPES), unique=True), st.booleans()), max_size=5),
    event_type=st.sampled_from(TYPES),
    number=st.integers(0, 10**9),
)
def test_each_enabled_endpoint_that_takes_the_type_gets_one_delivery(
    control: Control,
    platform: Producer,
    database: Database,
    client: redis.Redis,
    endpoints: list[tuple[list[str], bool]],
    event_type: str,
    number: int,
) -> None:
    for known in control.webhooks.endpoints():
        if known.status == "enabled":
            control.webhooks.disable(known.name, reason="of an earlier example")
    client.delete(KEYS.waiting)
    wanted = set()
    for index, (types, is_enabled) in enumerate(endpoints):
        name = f"e{number}-{index}-{len(control.webhooks.endpoints())}"
        control.webhooks.add(name, "https://partner.example/h", event_types=types)
        if not is_enabled:
            control.webhooks.disable(name, reason="off")
        elif not types or event_type in types:
            wanted.add(name)

    published = publish_event(platform, database, event_type, {"n": number})

    assert set(published.deliveries) == wanted
    ids = {known.id for known in control.webhooks.endpoints() if known.name in wanted}
    found = payloads(client)
    assert {payload["endpoint_id"] for payload in found} == ids and len(found) == len(ids)
    assert all(
        (payload["event_id"], payload["event_type"], payload["data"]) == (published.event_id, event_type, {"n": number})
        for payload in found
    )


def test_an_event_that_was_published_half_way_is_published_again_without_doubles(
    control: Control, platform: Producer, database: Database, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        control.webhooks.add(name, "https://partner.example/h")
    whole, calls = platform._runner.run, iter(range(10))

    def die_at_the_second(call: Any) -> Any:
        if next(calls) == 1:
            raise RedisUnavailable("gone")
        return whole(call)

    with monkeypatch.context() as patched, pytest.raises(RedisUnavailable):
        # As if there were a thousand and one.
        patched.setattr(submission, "BATCH_LIMIT", 1)
        patched.setattr(platform._runner, "run", die_at_the_second)
        publish_event(platform, database, "article.published", {"n": 1}, event_id="e1", occurred_at=AT)
    assert len(payloads(client)) == 1

    again = publish_event(platform, database, "article.published", {"n": 1}, event_id="e1", occurred_at=AT)
    assert [accepted.is_new for accepted in again.deliveries.values()] == [False, True, True]
    assert sorted(payload["endpoint_id"] for payload in payloads(client)) == [1, 2, 3]
    with pytest.raises(IdempotencyConflict, match=r"data\.n"):
        publish_event(platform, database, "article.published", {"n": 2}, event_id="e1", occurred_at=AT)


def test_an_id_that_was_used_for_another_event_reaches_nobody(
    platform: Producer, control: Control, database: Database, client: redis.Redis
) -> None:
    control.webhooks.add("first", "https://partner.example/h", event_types=["article.published"])
    control.webhooks.add("both", "https://partner.example/h", event_types=["article.published", "article.edited"])
    publish_event(platform, database, "article.edited", {}, event_id="e1", occurred_at=AT)

    with pytest.raises(IdempotencyConflict, match=r"payload\.event_type"):
        publish_event(platform, database, "article.published", {}, event_id="e1", occurred_at=AT)

    assert [payload["endpoint_id"] for payload in payloads(client)] == [2]


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({"event_type": "Not A Type"}, InvalidPayload, "event_type"),
        ({"data": {"n": float("nan")}}, InvalidPayload, "data.n"),
        ({"event_id": "with space", "occurred_at": AT}, InvalidPayload, "event_id"),
        ({"event_id": "e1"}, InvalidRequest, "occurred_at"),
        ({"event_id": "", "occurred_at": AT}, InvalidPayload, "event_id"),
        ({"event_id": "e1", "occurred_at": ""}, InvalidPayload, "occurred_at"),
    ],
)
def test_a_wrong_event_is_refused_by_field_though_nobody_takes_it(
    platform: Producer,
    database: Database,
    client: redis.Redis,
    wrong: dict[str, Any],
    error: type[Exception],
    field: str,
) -> None:
    event: dict[str, Any] = {"event_type": "article.published", "data": {}, **wrong}
    with pytest.raises(error, match=field):
        publish_event(platform, database, event.pop("event_type"), event.pop("data"), **event)
    assert client.dbsize() == 0
