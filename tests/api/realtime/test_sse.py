"""Server-sent events: told once each, from where a client was, until it takes nothing any more."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis

from teknav_ops.api.realtime import following, sse
from teknav_ops.redis_state.keys import EVENTS_STREAM
from tests.api.realtime.conftest import Tell
from tests.support.waiting import until
from tests.support.web import ROOT, Web

PATH = "/api/realtime/queue-events"


class Stream:
    """An open stream, read block by block."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def block(self) -> dict[str, str]:
        """The next block; comments under ''."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line:
                self.last_id = fields.get("id", self.last_id)
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        raise EOFError

    def event(self) -> dict[str, Any]:
        """The next event, as JSON."""
        while True:
            block = self.block()
            if "data" in block:
                data: dict[str, Any] = json.loads(block["data"])
                assert data["type"] == block["event"]
                assert data.get("id") == block.get("id")
                return data


@contextmanager
def opened(site: Web, token: str, last_id: str | None = None, **params: Any) -> Iterator[Stream]:
    headers = {"authorization": f"Bearer {token}"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    with httpx.stream("GET", site.url + PATH, headers=headers, params=params, timeout=20) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert "retry" in stream.block()
        yield stream


def test_events_come_as_they_happen_with_id_and_type(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as stream:
        ids = [tell(job_id=f"j{number}") for number in range(3)]
        events = [stream.event() for _ in range(3)]

    assert [event["id"] for event in events] == ids
    assert [event["jobs"][0]["jobId"] for event in events] == ["j0", "j1", "j2"]


def test_only_what_was_asked_for_is_told(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token, queue=["test:other"], type=["job.failed", "dlq.added"]) as stream:
        tell("test:work", "unwanted")
        tell("test:other", "wanted")

        assert stream.event()["jobs"][0]["jobId"] == "wanted"


def test_whoever_comes_back_misses_nothing_and_hears_nothing_twice(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as stream:
        tell(job_id="before")
        stream.event()
        last_id = stream.last_id
    for number in range(1_200):
        tell(job_id=f"away-{number}")

    with opened(site, token, last_id) as stream:
        tell(job_id="after")
        heard = [stream.event()["jobs"][0]["jobId"] for _ in range(1_201)]

    assert heard == [*(f"away-{number}" for number in range(1_200)), "after"]


def test_what_is_not_kept_any_more_is_announced_as_a_gap(
    site: Web, token: str, tell: Tell, client: redis.Redis
) -> None:
    first = tell()
    second, third = tell(job_id="j2"), tell(job_id="j3")
    client.xdel(EVENTS_STREAM, first)
    assert second < third

    with opened(site, token, first) as stream:
        heard = [stream.event() for _ in range(3)]

    assert [event["type"] for event in heard] == ["gap", "job.failed", "job.failed"]


def test_a_stream_that_was_lost_while_a_client_listens_is_a_gap(
    site: Web, token: str, tell: Tell, client: redis.Redis
) -> None:
    with opened(site, token) as stream:
        tell()
        stream.event()
        client.delete(EVENTS_STREAM)
        until(lambda: site.services.hub.last_id == "0-0", what="the hub's noticing")
        assert stream.event()["type"] == "gap"

        event_id = tell()
        assert stream.event()["id"] == event_id


def test_a_quiet_stream_has_a_heartbeat_that_moves_the_place(
    site: Web, token: str, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    with opened(site, token, queue=["test:other"]) as stream:
        unwanted = tell("test:work")

        until(lambda: stream.block().get("id") == unwanted, what="the place past what was not wanted")


def test_heartbeats_come_also_while_others_get_all_the_news(
    site: Web, token: str, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    stopped = threading.Event()

    def be_busy() -> None:
        while not stopped.is_set():
            tell("test:work")

    busy = threading.Thread(target=be_busy)
    places: list[list[int]] = []
    with opened(site, token, queue=["test:other"]) as stream:
        busy.start()
        try:
            while len(set(map(tuple, places))) < 3:
                places.append([int(part) for part in stream.block()["id"].split("-")])
        finally:
            stopped.set()
            busy.join()

    assert places == sorted(places)


def test_more_clients_than_may_be_are_told_to_come_back(site: Web, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "CLIENT_LIMIT", 1)
    with opened(site, token):
        answer = httpx.get(site.url + PATH, headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == 503 and answer.headers["retry-after"]


def test_a_client_that_goes_is_forgotten(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token):
        assert site.services.hub.client_count == 1

    until(lambda: tell() and site.services.hub.client_count == 0, what="the client's leaving")


def test_a_client_that_takes_nothing_is_dropped(
    site: Web, token: str, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SEND_SECONDS", 0.3)
    request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.connect(("127.0.0.1", site.port))
        lazy.sendall(request.encode())
        until(lambda: site.services.hub.client_count == 1, what="the client")

        until(
            lambda: tell(size=100_000) and site.services.hub.client_count == 0, what="the lazy client's being dropped"
        )


def test_a_slow_client_does_not_keep_a_quick_one_waiting(site: Web, token: str, tell: Tell) -> None:
    request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    with socket.socket() as lazy, opened(site, token) as quick:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.connect(("127.0.0.1", site.port))
        lazy.sendall(request.encode())
        until(lambda: site.services.hub.client_count == 2, what="both clients")
        for number in range(60):
            tell(job_id=f"j{number}", size=50_000)

        heard = [quick.event()["jobs"][0]["jobId"] for _ in range(60)]

    assert heard == [f"j{number}" for number in range(60)]


def test_a_revoked_token_ends_the_stream(site: Web, token: str) -> None:
    with opened(site, token) as stream:
        site.services.entrance.tokens.revoke(ROOT, "ci")

        with pytest.raises((EOFError, httpx.RemoteProtocolError)):
            until(lambda: stream.block() is None, what="the stream's end")


@pytest.mark.parametrize(
    ("params", "status"),
    [({"queue": "no:such"}, 404), ({"type": "job.danced"}, 422), ({"last_id": "yesterday"}, 422)],
)
def test_what_is_asked_wrongly_is_refused(site: Web, token: str, params: dict[str, str], status: int) -> None:
    answer = httpx.get(site.url + PATH, params=params, headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"


def test_nobody_listens_without_signing_in(site: Web) -> None:
    assert httpx.get(site.url + PATH).status_code == 401
