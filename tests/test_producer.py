"""What producers may offer, and what they are told."""

from __future__ import annotations

import enum
import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from teknav_ops.errors import (
    IdempotencyConflict,
    InvalidPayload,
    InvalidRequest,
    PayloadTooLarge,
    RedisUnavailable,
    UnknownJob,
    UnknownQueue,
)
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Accepted
from teknav_ops.topology import TOPOLOGY
from tests.support.engine import dump
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.topology import TOPOLOGY as TEST_TOPOLOGY


def test_the_lines_of_the_readme_enqueue(client: redis.Redis, cipher: Cipher, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (block,) = re.findall(r"```python\n(from teknav_ops.producer .*?)```", text, re.S)
    monkeypatch.setattr(Producer, "from_settings", lambda _: Producer(client, cipher=cipher))  # type: ignore[arg-type]

    exec(block.replace("10_001", "11"), {})

    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    assert [queries.counts(queue).delayed for queue in ("media:optimize", "email:send")] == [0, 1]
    assert queries.counts("search:index").waiting == 10


def test_the_named_helpers_enqueue_on_their_queues(client: redis.Redis, cipher: Cipher) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    accepted = {
        "ai:content": producer.enqueue_ai_content("generate-summary", article_id=1),
        "ai:seo": producer.enqueue_ai_seo(article_id=1),
        "ai:review": producer.enqueue_ai_review(article_id=1),
        "analytics:process": producer.enqueue_analytics_process(),
        "analytics:snapshot": producer.enqueue_analytics_snapshot(days=7),
        "otp:send": producer.enqueue_otp(
            channel="sms", recipient="+989121234567", code="1234", expires_at="2027-01-01T00:00:00Z"
        ),
        "webhooks:deliver": producer.enqueue_webhook(
            endpoint_id=1, event_id="e", event_type="article.published", occurred_at="2026-01-01T00:00:00Z"
        ),
        "plugins:execute": producer.enqueue_plugin(plugin="p", event="a.b"),
        "workflows:run": producer.enqueue_workflow(workflow="publish-article"),
        "media:optimize": producer.enqueue_media_optimize(file_id=1),
        "search:index": producer.enqueue_search_index(article_id=1),
        "email:send": producer.enqueue_email(to="a@example.com", subject="s", text="t"),
    }

    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    assert {queue: queries.get(queue, job.job_id).state for queue, job in accepted.items()} == dict.fromkeys(
        TOPOLOGY, "waiting"
    )


def test_a_key_makes_one_job(producer: Producer, queries: JobQueries) -> None:
    first = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")
    second = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")

    assert first.is_new and not second.is_new and first.job_id == second.job_id
    assert queries.counts("test:work").waiting == 1
    assert queries.get("test:work", first.job_id).idempotency_key == "k"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"queue": "no:such"}, UnknownQueue, "queue: no 'no:such'; there are test:work"),
        ({"job": "dance"}, UnknownJob, "job: test:work carries no 'dance'; it carries confide"),
        ({"data": {"number": "many"}}, InvalidPayload, "number: "),
        ({"data": {"number": 1, "colour": "red"}}, InvalidPayload, "colour: "),
        ({"data": {}}, InvalidPayload, "number: Field required"),
        ({"data": [1]}, InvalidPayload, "must be a JSON object, not list"),
        ({"delay": -1}, InvalidRequest, "delay: "),
        ({"delay": timedelta(days=400)}, InvalidRequest, "366 days"),
        ({"priority": 10}, InvalidRequest, "priority: 10 is not between -9"),
        ({"trace_id": "0" * 32}, InvalidRequest, "trace_id: must be 32 lower-case hex digits, not all of them 0"),
        ({"idempotency_key": ""}, InvalidRequest, "idempotency_key: "),
        ({"idempotency_key": "x" * 201}, InvalidRequest, "idempotency_key: "),
        ({"trace_id": "zz"}, InvalidRequest, "trace_id: "),
        (
            {"job": "confide", "data": {"secret": "s", "note": "x" * 150_000}},
            PayloadTooLarge,
            "store the data and pass",
        ),
    ],
)
def test_bad_input_names_the_field_and_writes_nothing(
    client: redis.Redis, cipher: Cipher, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    producer = Producer(client, cipher=cipher, topology=TEST_TOPOLOGY, payload_limit_bytes=100_000)  # type: ignore[arg-type]
    call = {"queue": "test:work", "job": "work", "data": {"number": 1}, **arguments}

    with pytest.raises(error) as caught:
        producer.enqueue(call.pop("queue"), call.pop("job"), call.pop("data"), **call)

    assert words in str(caught.value)
    assert dump(client) == {}


def test_one_bad_item_of_many_refuses_them_all_and_says_which(producer: Producer, client: redis.Redis) -> None:
    with pytest.raises(InvalidPayload, match="item 2: number"):
        producer.enqueue_many("test:work", "work", [{"number": 1}, {"number": 2}, {"number": "x"}])

    assert dump(client) == {}


def test_many_are_written_in_one_round_trip_per_thousand(
    producer: Producer, client: redis.Redis, queries: JobQueries
) -> None:
    before = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    accepted = producer.enqueue_many("test:work", "work", ({"number": n} for n in range(2_500)))
    after = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    assert len({job.job_id for job in accepted}) == 2_500
    assert queries.counts("test:work").waiting == 2_500
    # One more for the first, which the server did not know the script of.
    assert after - before <= 4


def test_an_unreachable_redis_is_a_clear_error_after_a_bounded_time(cipher: Cipher) -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}", timeout_seconds=0.5)
    producer = Producer(client, cipher=cipher, topology=TEST_TOPOLOGY, timeout_seconds=1)

    begun = time.monotonic()
    with pytest.raises(RedisUnavailable, match="teknav doctor"):
        producer.enqueue("test:work", "work", {"number": 1})
    assert time.monotonic() - begun < 20


def test_a_secret_needs_a_key(redis_server: RedisServer) -> None:
    producer = Producer(connect(redis_server.url), cipher=Cipher([]), topology=TEST_TOPOLOGY)
    with pytest.raises(Exception, match="TEKNAV_SECRET_KEY"):
        producer.enqueue("test:work", "confide", {"secret": "s"})


def test_errors_about_secret_fields_do_not_quote_them(producer: Producer) -> None:
    with pytest.raises(InvalidPayload) as caught:
        producer.enqueue("test:work", "confide", {"secret": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "queue", "job", "data"),
    [
        ("enqueue_workflow", "workflows:run", "run-workflow", {"workflow": "publish-article", "input": {"n": 1}}),
        ("enqueue_plugin", "plugins:execute", "execute-plugin", {"plugin": "p", "event": "a.b"}),
        ("enqueue_email", "email:send", "send-email", {"to": "a@example.com", "subject": "s", "text": "t"}),
        ("enqueue_webhook", "webhooks:deliver", "deliver-webhook",
         {"endpoint_id": 1, "event_id": "e", "event_type": "a.b", "occurred_at": "2026-01-01T00:00:00Z"}),
        ("enqueue_media_optimize", "media:optimize", "optimize-image", {"file_id": 1}),
    ],
)  # fmt: skip
def test_each_named_helper_takes_a_mapping_or_fields_and_every_option(
    client: redis.Redis, cipher: Cipher, name: str, queue: str, job: str, data: dict[str, Any]
) -> None:
    helper = getattr(Producer(client, cipher=cipher), name)  # type: ignore[arg-type]
    options = {"idempotency_key": "k", "delay": 60, "priority": -2, "trace_id": "ab" * 16}

    accepted = helper(data, **options)

    record = JobQueries(client, TOPOLOGY).get(queue, accepted.job_id)  # type: ignore[arg-type]
    assert (record.name, record.state, record.priority) == (job, JobState.DELAYED, -2)
    assert (record.idempotency_key, record.trace_id) == ("k", "ab" * 16)
    assert helper(**data, **options) == Accepted(accepted.job_id, is_new=False)


def test_one_of_the_names_of_content_takes_every_option_too(client: redis.Redis, cipher: Cipher) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    accepted = producer.enqueue_ai_content("generate-summary", {"article_id": 1}, priority=3, delay=5)
    record = JobQueries(client, TOPOLOGY).get("ai:content", accepted.job_id)  # type: ignore[arg-type]
    assert (record.priority, record.state) == (3, JobState.DELAYED)


class _Priority(enum.IntEnum):
    SOON = -2


class _Unread(list[int]):
    def __iter__(self) -> Any:
        raise RuntimeError("not now")


def test_a_priority_may_be_named_by_an_enumeration(producer: Producer, queries: JobQueries) -> None:
    accepted = producer.enqueue("test:work", "work", {"number": 1}, priority=_Priority.SOON)
    assert queries.get("test:work", accepted.job_id).priority == -2


def test_a_list_that_cannot_be_read_is_refused_by_its_field(client: redis.Redis, cipher: Cipher) -> None:
    with pytest.raises(InvalidPayload, match=r"data\.rows: cannot be read: RuntimeError"):
        Producer(client, cipher=cipher).enqueue_plugin(  # type: ignore[arg-type]
            plugin="p", event="e", input={"data": {"rows": _Unread([1])}}
        )


def test_many_jobs_have_a_key_each(producer: Producer, client: redis.Redis) -> None:
    items = [{"number": number} for number in range(3)]
    first = producer.enqueue_many("test:work", "work", items, idempotency_keys=["a", None, "c"])
    again = producer.enqueue_many("test:work", "work", items, idempotency_keys=(key for key in ("a", None, "c")))

    assert [accepted.is_new for accepted in again] == [False, True, False]
    assert (again[0].job_id, again[2].job_id) == (first[0].job_id, first[2].job_id)
    before = dump(client)
    for keys, words in (
        (["a"], "1 keys for 3 items"),
        (["a", "b ", "c"], "idempotency_keys: item 1: must be one line"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            producer.enqueue_many("test:work", "work", items, idempotency_keys=keys)
    assert dump(client) == before
    with pytest.raises(IdempotencyConflict, match=r"payload\.number"):
        producer.enqueue_many("test:work", "work", [{"number": 7}], idempotency_keys=["a"])
    with pytest.raises(InvalidRequest, match=r"idempotency_keys: items 0 and 2 .* payload\.number differs"):
        producer.enqueue_many("test:work", "work", items, idempotency_keys=["x", None, "x"], all_or_none=True)
    assert dump(client) == before


@pytest.mark.parametrize("wrong", [None, 5, "ab", b"ab", {"number": 7}, {"a", "b"}, frozenset("ab")])
def test_many_jobs_and_their_keys_are_lists(producer: Producer, client: redis.Redis, wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="items: must be a list"):
        producer.enqueue_many("test:work", "work", wrong)
    items = [{"number": 7}, {"number": 8}]
    if wrong is not None:
        with pytest.raises(InvalidRequest, match="idempotency_keys: must be a list"):
            producer.enqueue_many("test:work", "work", items, idempotency_keys=wrong)
    assert client.dbsize() == 0


def test_what_is_given_twice_is_refused(client: redis.Redis, cipher: Cipher) -> None:
    with pytest.raises(InvalidPayload, match="file_id: given twice"):
        Producer(client, cipher=cipher).enqueue_media_optimize({"file_id": 7}, file_id=8)  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "value"), [("delay", -1), ("priority", 99), ("trace_id", "x")])
def test_options_of_no_jobs_are_checked_as_those_of_many(producer: Producer, option: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=option):
        producer.enqueue_many("test:work", "work", [], **{option: value})


def _fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("not now")


def _failing(base: type, *names: str) -> Any:
    """A value of a class of somebody's own, whose methods fail."""
    return type("Odd", (base,), dict.fromkeys(names, _fails))("5" * 32 if base is str else 5)


_FAILING = [
    (base, names)
    for base in (int, float, str)
    for names in (("__eq__", "__hash__"), ("__lt__", "__gt__"), ("__str__",), ("__repr__",), ("__format__",))
] + [(int, ("__index__",)), (float, ("__abs__",)), (str, ("__len__",)), (str, ("__hash__",))]


@pytest.mark.parametrize("failing", _FAILING, ids=str)
def test_a_value_that_fails_when_it_is_read_is_refused_by_its_field_everywhere(
    producer: Producer, client: redis.Redis, cipher: Cipher, failing: tuple[type, tuple[str, ...]]
) -> None:
    value = _failing(failing[0], *failing[1])
    platform = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    before = dump(client)

    for options in ("idempotency_key", "delay", "priority", "trace_id"):
        with pytest.raises(InvalidRequest, match=f"^{options}: "):
            producer.enqueue("test:work", "work", {"number": 1}, **{options: value})
    with pytest.raises(InvalidPayload, match="number: cannot be read: RuntimeError"):
        producer.enqueue("test:work", "work", {"number": value})
    for data in ({"rows": [value]}, {"rows": {"a": (1, value)}}):
        with pytest.raises(InvalidPayload, match=r"data\.rows\.\w+(\.1)?: cannot be read: RuntimeError"):
            platform.enqueue_plugin(plugin="p", event="e", input={"data": data})
    with pytest.raises(InvalidPayload, match=r"secrets\.link: cannot be read: RuntimeError"):
        platform.enqueue_email(to="a@example.com", subject="s", text="{{link}}", secrets={"link": SecretStr(value)})
    with pytest.raises(UnknownQueue):
        producer.enqueue(value, "work", {"number": 1})
    with pytest.raises(UnknownJob):
        producer.enqueue("test:work", value, {"number": 1})
    assert dump(client) == before


class _Lazy(dict[str, Any]):
    keys = items = __iter__ = __len__ = __bool__ = _fails  # type: ignore[assignment]


class _Word(enum.StrEnum):
    LONG = "long"


def test_a_mapping_that_fails_is_refused_and_enumerations_are_their_values(client: redis.Redis, cipher: Cipher) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    for fields in ({}, {"article_id": 1}):
        with pytest.raises(InvalidPayload, match="payload: cannot be read: RuntimeError"):
            producer.enqueue_search_index(_Lazy(), **fields)
    assert client.dbsize() == 0

    kept = producer.enqueue_plugin(plugin="p", event="e", input={_Word.LONG: [_Word.LONG, _Priority.SOON]})

    stored = json.loads(client.hget(QueueKeys("plugins:execute").job(kept.job_id), "payload"))  # type: ignore[arg-type]
    assert stored["input"] == {"long": ["long", -2]}
