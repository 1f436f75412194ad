"""A record that cannot be read is one row that says so, everywhere, and hides no other."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.pages.dlq import DlqPage
from dashboards.pages.job import JobPage
from dashboards.pages.queue import QueuePage
from teknav_ops.cli import show
from teknav_ops.jobs.states import JobState
from teknav_ops.redis_state.keys import QueueKeys
from tests.properties.payloads import examples
from tests.properties.test_page_data import opened
from tests.support import strategies as odd
from tests.support.web import Web

QUEUE = "search:index"
KEYS = QueueKeys(QUEUE)
DEEP = '{"a":' * 300 + "1" + "}" * 300
RECORD = {
    "state": "failed", "name": "index-article", "payload": '{"article_id":1}', "enqueued_at_ms": "1764000000000",
    "finished_at_ms": "1764000000001", "attempts": "1", "error_type": "ValueError", "error": "broken", "delivery": "1",
    "duration_ms": "5", "result": "{}", "progress": "0.5", "attempt:1": "{}",
}  # fmt: skip
LETTER = {
    "originalQueue": QUEUE, "originalJobId": "x", "jobName": "index-article", "errorType": "ValueError",
    "error": "broken", "stack": "here", "fingerprint": "f", "attemptsMade": "1", "failedAt": "1764000000001",
    "payload": '{"article_id":1}', "traceId": "",
}  # fmt: skip
#: What stands in a field that somebody wrote past the scripts, or an older release did.
DAMAGE = [
    "", "{", "[1", "nan", "-1", "1e300", "9" * 5_000, DEEP, "[" * 900 + "]" * 900, "[" * 100_000, '{"a":NaN}',
    '{"a":1e999}', '"\\ud800"', '{"$secret":"x"}', "\0", "‮", "null", "[]", "x" * 10_000,
]  # fmt: skip


@pytest.fixture
def redis(site: Web) -> Any:
    client: Any = site.services.client
    client.flushdb()
    return client


ADDRESSES = (
    "jobs?state=failed", "jobs/odd", "jobs/good", "jobs/odd/export", "dead-letters", "dead-letters/odd",
    "dead-letters/groups", "dead-letters/export", "dead-letters/export?format=csv",
)  # fmt: skip


def write_damaged(redis: Any, job_id: str, record: dict[str, str], letter: dict[str, str]) -> None:
    for key in (KEYS.failed, KEYS.dlq, KEYS.dlq_fingerprint("f"), KEYS.dlq_type("ValueError")):
        redis.zadd(key, {job_id: 1764000000001})
    redis.delete(KEYS.job(job_id), KEYS.dlq_record(job_id))
    if record:
        redis.hset(KEYS.job(job_id), mapping=record)
        redis.hset(KEYS.dlq_record(job_id), mapping=letter)
    else:
        redis.set(KEYS.job(job_id), "no hash")
        redis.set(KEYS.dlq_record(job_id), "no hash")
    redis.hset(KEYS.dlq_groups, "ValueError|f", "2")


def check_everywhere(site: Web, owner: httpx.Client) -> None:
    """Both jobs are listed by queries, REST, pages and command line, and each can be looked at."""
    services, both = site.services, {"good", "odd"}
    assert {job.id for job in services.jobs.page(QUEUE, JobState.FAILED).items} == both
    assert {letter.original_job_id for letter in services.dead_letters.page(QUEUE).items} >= {"good"}
    assert len(services.dead_letters.page(QUEUE).items) == 2
    assert "good" in [failure.job_id for failure in services.dead_letters.failures_of(QUEUE, ["odd", "good"])]
    place = f"/api/owner/queues/{QUEUE}"
    for path in ADDRESSES:
        answer = owner.get(f"{place}/{path}")
        assert answer.status_code == 200, (path, answer.text)
    assert len(owner.get(f"{place}/jobs?state=failed").json()["items"]) == 2
    assert len(owner.get(f"{place}/dead-letters").json()["items"]) == 2
    for page, query in ((QueuePage, {"tab": "failed"}), (QueuePage, {"tab": "dlq"}), (DlqPage, {}), (JobPage, {})):
        view = opened(site, page, query)
        view._page.visit.route["job_id"] = "odd"
        slots = view._slots()
        assert slots["problem"] is None
        json.dumps(slots, allow_nan=False).encode()
    told = [services.jobs.get(QUEUE, "odd"), services.jobs.find("odd"), services.dead_letters.get(QUEUE, "odd")]
    json.dumps(show.plain(told), allow_nan=False).encode()


@examples(15)
@given(
    field=st.sampled_from(sorted({*RECORD, *LETTER})),
    text=st.sampled_from(DAMAGE) | odd.plain_texts,
    gone=st.booleans(),
)
def test_any_damage_to_a_field_is_one_row(
    site: Web, owner: httpx.Client, redis: Any, field: str, text: str, gone: bool
) -> None:
    def spoilt(fields: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in fields.items() if name != field} if gone else fields | {field: text}

    write_damaged(redis, "good", RECORD, LETTER | {"originalJobId": "good"})
    write_damaged(redis, "odd", spoilt(RECORD), spoilt(LETTER | {"originalJobId": "odd"}))
    check_everywhere(site, owner)


def test_a_key_of_another_kind_is_one_row(site: Web, owner: httpx.Client, redis: Any) -> None:
    write_damaged(redis, "good", RECORD, LETTER | {"originalJobId": "good"})
    write_damaged(redis, "odd", {}, {})
    check_everywhere(site, owner)
    assert site.services.jobs.get(QUEUE, "odd").error_type == "CorruptRecord"


def test_a_deep_payload_is_shown_as_its_text_without_its_secrets(site: Web, owner: httpx.Client, redis: Any) -> None:
    sealed = '{"b":{"$secret":"gAAAAtoken"},"a":' + DEEP + "}"
    write_damaged(redis, "odd", RECORD | {"payload": sealed}, LETTER | {"payload": sealed})

    for path in ("jobs/odd", "dead-letters/odd"):
        shown = owner.get(f"/api/owner/queues/{QUEUE}/{path}").json()["payload"]
        assert shown.startswith('{"b":') and "gAAAA" not in shown
