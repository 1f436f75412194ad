"""What a producer's token may make at most."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import httpx
import pytest
import redis

from teknav_ops.access.policy import Operation, Role
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE
from tests.support.web import ROOT, Web

PLACE = f"/api/owner/queues/{QUEUE}/jobs"
JOB = {"job": "work", "payload": {"number": 1}}
NAMES = (f"producer-{number}" for number in itertools.count())


@pytest.fixture
def producer(site: Web, redis_server: RedisServer) -> Iterator[Callable[..., httpx.Client]]:
    """Makes a program that may enqueue, with a quota, on an empty Redis."""
    opened: list[httpx.Client] = []

    def build(scopes: Sequence[Operation] = (Operation.ENQUEUE,), **limits: int) -> httpx.Client:
        secret, _ = site.services.entrance.tokens.create(
            ROOT, next(NAMES), role=Role.OWNER, scopes=scopes, life=None, **limits
        )  # type: ignore[arg-type]
        opened.append(site.with_token(secret))
        return opened[-1]

    yield build
    for client in opened:
        client.close()


def test_a_token_makes_so_many_jobs_a_minute_and_is_told_when_to_come_back(
    producer: Callable[..., httpx.Client], client: redis.Redis
) -> None:
    limited, other = producer(jobs_per_minute=2), producer(jobs_per_minute=2)

    assert [limited.post(PLACE, json=JOB).status_code for _ in range(4)] == [201, 201, 429, 429]
    refusal = limited.post(PLACE, json=JOB)
    assert refusal.json()["type"] == "urn:teknav:problem:quota-exceeded"
    assert "at most 2 jobs a minute" in refusal.json()["detail"]
    assert 1 <= int(refusal.headers["retry-after"]) <= 61
    # A request that is wrong uses nothing up, and another token has a quota of its own.
    assert other.post(PLACE, json=JOB | {"payload": {}}).status_code == 422
    assert [other.post(PLACE, json=JOB).status_code for _ in range(3)] == [201, 201, 429]
    assert client.llen(KEYS.waiting) == 4


@pytest.mark.parametrize("limit", ["jobs_per_minute", "backlog_limit"])
def test_a_job_that_is_run_again_is_one_of_those_that_its_token_makes(
    site: Web, producer: Callable[..., httpx.Client], client: redis.Redis, limit: str
) -> None:
    both = producer(scopes=[Operation.ENQUEUE, Operation.ACT], **{limit: 2})
    first = both.post(PLACE, json=JOB).json()["job_id"]
    site.services.control(ROOT).cancel(QUEUE, first)
    if limit == "backlog_limit":
        assert both.post(PLACE, json=JOB).status_code == 201

    again = [both.post(f"{PLACE}/{first}/run-again").status_code for _ in range(2)]

    assert again == [201, 429]
    assert both.post(PLACE, json=JOB).status_code == 429
    assert client.llen(KEYS.waiting) == (1 if limit == "jobs_per_minute" else 2)


def test_a_token_adds_to_a_queue_only_up_to_its_backlog(
    producer: Callable[..., httpx.Client], client: redis.Redis
) -> None:
    limited, other = producer(backlog_limit=3), producer()
    assert other.post(PLACE, json=JOB).status_code == 201
    assert limited.post(PLACE, json=JOB | {"delay_seconds": 3_600}).status_code == 201
    assert [limited.post(PLACE, json=JOB).status_code for _ in range(2)] == [201, 429]
    refusal = limited.post(PLACE, json=JOB)

    assert "holds 3 jobs that wait or are delayed" in refusal.json()["detail"]
    assert int(refusal.headers["retry-after"]) >= 1
    assert other.post(PLACE, json=JOB).status_code == 201
    client.execute_command("LTRIM", KEYS.waiting, 2, -1)
    assert limited.post(PLACE, json=JOB).status_code == 201


def test_users_and_tokens_are_shown_to_an_owner_s_browser_and_to_no_token(
    site: Web, owner: httpx.Client, producer: Callable[..., httpx.Client]
) -> None:
    producer(jobs_per_minute=7)
    site.add_user("sara")
    with closing(site.sign_in("sara")) as browser:
        shown = {kind: browser.get(f"/api/owner/access/{kind}").json()["items"] for kind in ("users", "tokens")}

    assert [(user["name"], user["role"], user["queues"]) for user in shown["users"]] == [("sara", "OWNER", ["*"])]
    newest = shown["tokens"][0]
    wanted = {"scopes": ["enqueue"], "jobs_per_minute": 7, "backlog_limit": None, "state": "live", "queues": ["*"]}
    assert {name: newest[name] for name in wanted} == wanted
    assert not {"token_hash", "secret", "password_hash"} & {*newest, *shown["users"][0]}
    assert [owner.get(f"/api/owner/access/{kind}").status_code for kind in ("users", "tokens")] == [403, 403]
