"""Whatever a producer is offered is refused with the field's name, or comes back equal from Redis."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from teknav_ops.errors import InvalidPayload, InvalidRequest, PayloadTooLarge, UnknownJob, UnknownQueue
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads import codec
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import TOPOLOGY
from tests.properties.payloads import FIELDS, FREE, PAYLOADS, as_json, examples
from tests.support import strategies as odd
from tests.support.engine import Engine


@pytest.fixture
def producer(client: redis.Redis, cipher: Cipher) -> Producer:
    return Producer(client, cipher=cipher, timeout_seconds=2)  # type: ignore[arg-type]


@pytest.fixture
def queries(client: redis.Redis) -> JobQueries:
    return JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]


def test_every_field_of_every_payload_model_is_tried() -> None:
    known = {(queue.name, job, field) for queue in TOPOLOGY.values() for job, model in queue.jobs.items()
             for field in model.model_fields}  # fmt: skip
    assert known == set(FIELDS)


#: Most of what is drawn has the type that a field asks for, or nearly: the rest is refused at the first look.
LIKELY = odd.texts | odd.odd_numbers | st.integers() | odd.dates
FREE_DATA = st.dictionaries(odd.texts, odd.anything, min_size=1, max_size=3)
VALUES = {
    "input": FREE_DATA, "data": FREE_DATA, "events": st.lists(FREE_DATA, max_size=2) | st.tuples(FREE_DATA),
    "secrets": st.dictionaries(st.just("link"), odd.texts.map(SecretStr) | odd.anything),
}  # fmt: skip
PLACES = st.sampled_from(FIELDS).flatmap(
    lambda place: st.tuples(
        st.just(place),
        VALUES.get(place[2], LIKELY | st.lists(LIKELY, max_size=2) | st.sets(st.integers(1, 3))) | odd.anything,
    )
)


@examples(300)
@given(drawn=PLACES)
def test_any_value_of_any_field_is_refused_by_name_or_comes_back(
    producer: Producer,
    queries: JobQueries,
    client: redis.Redis,
    cipher: Cipher,
    drawn: tuple[tuple[str, str, str], Any],
) -> None:
    (queue, job, field), value = drawn
    data = {**PAYLOADS[queue, job], field: value}
    before = client.dbsize()
    try:
        accepted = producer.enqueue(queue, job, data)
    except InvalidPayload as error:
        # A rule about several fields speaks of the payload, and names the field in its words.
        assert all(path.startswith((field, "payload")) for path, _ in error.fields), error
        assert error.fields and field in str(error)
        assert client.dbsize() == before
        return
    except PayloadTooLarge:
        assert client.dbsize() == before
        return

    model = TOPOLOGY[queue].payload_of(job)
    stored = client.hget(QueueKeys(queue).job(accepted.job_id), "payload")
    loaded = json.loads(stored)  # type: ignore[arg-type]
    again = codec.validate(
        model, codec.unseal(loaded, cipher, codec.Holder(queue, job, accepted.job_id)), where="again"
    )
    assert as_json(dict(again)) == as_json(dict(codec.validate(model, data, where="first")))
    record = queries.get(queue, accepted.job_id)
    if field in FREE:
        assert record.payload[field] == as_json(value)
    assert json.loads(record.model_dump_json())["payload"] == record.payload
    client.delete(QueueKeys(queue).waiting)


@examples(150)
@given(data=st.dictionaries(odd.texts, odd.anything, max_size=3) | odd.anything)
def test_any_payload_is_refused_or_taken_as_a_whole(producer: Producer, client: redis.Redis, data: Any) -> None:
    before = client.dbsize()
    with pytest.raises((InvalidPayload, PayloadTooLarge)):
        producer.enqueue("search:index", "index-article", data)
    assert client.dbsize() == before


OPTIONS = {
    "idempotency_key": odd.keys | odd.anything,
    "delay": odd.odd_numbers | odd.dates | st.timedeltas() | odd.anything,
    "priority": odd.odd_numbers | st.integers() | st.floats() | odd.anything,
    "trace_id": odd.texts | odd.anything,
}


@examples(150)
@given(option=st.sampled_from(sorted(OPTIONS)), data=st.data())
def test_any_option_is_refused_by_name_or_kept(
    producer: Producer, queries: JobQueries, client: redis.Redis, option: str, data: st.DataObject
) -> None:
    value = data.draw(OPTIONS[option])
    before = client.dbsize()
    try:
        accepted = producer.enqueue("search:index", "index-article", {"article_id": 1}, **{option: value})
    except InvalidRequest as error:
        assert str(error).startswith(f"{option}: ")
        assert client.dbsize() == before
        return
    record = queries.get("search:index", accepted.job_id)
    assert record.model_dump_json()
    if option == "priority":
        assert record.priority == value and type(value) is int
    elif option == "idempotency_key":
        assert record.idempotency_key == value and value != ""
    elif option == "trace_id" and value is not None:
        assert record.trace_id == value
    elif option == "delay" and value is not None:
        assert isinstance(value, int | float | timedelta) and not isinstance(value, bool)
    client.flushdb()


@examples(60)
@given(queue=odd.queue_names | odd.anything, job=odd.job_names | odd.anything)
def test_any_queue_and_job_name_is_known_or_refused(
    producer: Producer, client: redis.Redis, queue: Any, job: Any
) -> None:
    with pytest.raises((UnknownQueue, UnknownJob, InvalidPayload)):
        producer.enqueue(queue, job, {"no": "payload"})
    assert client.dbsize() == 0


@examples(60)
@given(item=odd.anything)
def test_one_odd_item_of_many_refuses_them_all(producer: Producer, client: redis.Redis, item: Any) -> None:
    good = {"article_id": 1}
    with pytest.raises((InvalidPayload, PayloadTooLarge), match="item 1"):
        producer.enqueue_many("search:index", "index-article", [good, {"article_id": 1, "x": item}])
    with pytest.raises((InvalidPayload, PayloadTooLarge), match="item 0"):
        producer.enqueue_many("search:index", "index-article", [item])
    assert client.dbsize() == 0


@examples(80)
@given(argument=odd.anything, delay=odd.odd_numbers | st.integers(0, 9))
def test_dramatiq_s_own_send_is_held_to_the_same_rules(
    engine: Engine, client: redis.Redis, queries: JobQueries, argument: Any, delay: Any
) -> None:
    actor = engine.broker.actors.get("free") or _free_actor(engine)
    before = client.dbsize()
    try:
        message = actor.send_with_options(kwargs={"data": argument}, delay=delay)
    except InvalidRequest as error:
        assert "data" in str(error) or str(error).startswith("delay: ")
        assert client.dbsize() == before
        return
    stored = client.hget(QueueKeys("free").job(message.message_id), "payload")
    assert json.loads(stored)["data"] == as_json(argument)  # type: ignore[arg-type]


def _free_actor(engine: Engine) -> Any:
    import dramatiq

    return dramatiq.actor(lambda data: None, broker=engine.broker, actor_name="free", queue_name="free")


def test_the_depth_limit_is_64_levels_for_payload_lists_and_objects_alike(
    producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    for as_list in (False, True):
        # The payload and `input` are two levels of their own.
        kept = producer.enqueue(
            "plugins:execute",
            "execute-plugin",
            {"plugin": "p", "event": "a", "input": {"x": odd.nested(62, as_list=as_list)}},
        )
        assert queries.get("plugins:execute", kept.job_id).payload["input"]["x"] == odd.nested(62, as_list=as_list)
        with pytest.raises(InvalidPayload, match="deeper than 64 levels") as caught:
            producer.enqueue(
                "plugins:execute",
                "execute-plugin",
                {"plugin": "p", "event": "a", "input": {"x": odd.nested(63, as_list=as_list)}},
            )
        assert caught.value.fields[0][0].startswith("input.x")
    assert len(queries.page("plugins:execute", JobState.WAITING).items) == 2
