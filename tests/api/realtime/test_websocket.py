"""The socket: subscriptions that change, resume, heartbeats, and clients that misuse it or take nothing."""

from __future__ import annotations

import contextlib
import json
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from teknav_ops.access.policy import Operation
from teknav_ops.api.live import CONNECTIONS_PER_TOKEN
from teknav_ops.api.realtime import websocket
from teknav_ops.redis_state.keys import EVENTS_STREAM
from teknav_ops.runtime.web import largest_message_bytes
from tests.api.realtime.conftest import Tell
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.web import ROOT, Web


class Socket:
    """An open socket that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=ANSWER_SECONDS))
        return message

    def subscribe(self, **wanted: Any) -> dict[str, Any]:
        self.say(type="subscribe", **wanted)
        answer = self.hear()
        assert answer["type"] == "subscribed", answer
        return answer


@contextmanager
def opened(site: Web, token: str, **options: Any) -> Iterator[Socket]:
    url = site.url.replace("http", "ws") + "/ws/queue-events"
    headers = {"authorization": f"Bearer {token}"}
    with connect(url, additional_headers=headers, open_timeout=ANSWER_SECONDS, **options) as connection:
        yield Socket(connection)


def job_of(event: dict[str, Any]) -> str:
    name: str = event["jobs"][0]["jobId"]
    return name


def test_nothing_is_told_before_it_is_asked_for_and_then_only_that(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as socket:
        early_id = tell(job_id="too early")
        until(lambda: site.services.hub.last_id == early_id, what="the hub's reading")
        socket.subscribe(queues=["test:work"])
        tell("test:other", "unwanted")
        event_id = tell("test:work", "wanted")

        event = socket.hear()

    assert (event["id"], event["type"], job_of(event)) == (event_id, "job.failed", "wanted")


def test_subscriptions_are_added_to_and_taken_from(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as socket:
        socket.subscribe(queues=["test:work"])
        assert socket.subscribe(queues=["test:other"])["queues"] == ["test:other", "test:work"]
        tell("test:other", "both")
        assert job_of(socket.hear()) == "both"

        socket.say(type="unsubscribe", queues=["test:other"])
        assert socket.hear()["queues"] == ["test:work"]
        tell("test:other", "unwanted")
        tell("test:work", "wanted")
        assert job_of(socket.hear()) == "wanted"

        socket.say(type="unsubscribe")
        assert socket.hear()["queues"] == []


def test_types_are_filtered(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as socket:
        assert socket.subscribe(types=["queue.paused"])["queues"] is None
        tell()
        socket.say(type="ping")

        assert socket.hear()["type"] == "pong"


def test_whoever_comes_back_misses_nothing(site: Web, token: str, tell: Tell) -> None:
    with opened(site, token) as socket:
        socket.subscribe()
        last_id = tell(job_id="before")
        socket.hear()
    for number in range(700):
        tell(job_id=f"away-{number}")

    with opened(site, token) as socket:
        socket.subscribe(last_id=last_id)
        heard = [job_of(socket.hear()) for _ in range(700)]

    assert heard == [f"away-{number}" for number in range(700)]


def test_what_is_not_kept_any_more_is_a_gap(site: Web, token: str, tell: Tell, client: redis.Redis) -> None:
    first, second = tell(), tell(job_id="j2")
    client.xdel(EVENTS_STREAM, first)

    with opened(site, token) as socket:
        socket.subscribe(last_id=first)

        assert socket.hear()["type"] == "gap"
        assert socket.hear()["id"] == second


def test_a_quiet_socket_has_a_heartbeat(site: Web, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_SECONDS", 0.05)
    with opened(site, token) as socket:
        socket.subscribe()

        assert socket.hear() == {"type": "heartbeat", "lastId": site.services.hub.last_id}


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"type": "ping", "type": "unsubscribe"}', "twice"),
        ('{"type": "dance"}', "dance"),
        ('{"type": "ping", "x": 1}', "Extra"),
        ('{"type": "subscribe", "queues": ["no:such"]}', "test:work"),
        ('{"type": "subscribe", "types": ["job.danced"]}', "job.completed"),
        ('{"type": "subscribe", "last_id": "yesterday"}', "yesterday"),
    ],
)
def test_a_message_that_is_none_is_answered_and_the_socket_stays(
    site: Web, token: str, message: str, word: str
) -> None:
    with opened(site, token) as socket:
        socket.connection.send(message)
        answer = socket.hear()

        assert answer["type"] == "error" and word in answer["detail"]
        socket.say(type="ping")
        assert socket.hear()["type"] == "pong"


@pytest.mark.parametrize("message", ["x" * 10_001, b"bytes"])
def test_misuse_closes_the_socket(site: Web, token: str, message: str | bytes) -> None:
    with opened(site, token) as socket:
        socket.connection.send(message)

        with pytest.raises(ConnectionClosed):
            socket.hear()
    until(lambda: site.services.hub.client_count == 0)


def test_a_client_that_goes_is_forgotten(site: Web, token: str) -> None:
    with opened(site, token) as socket:
        socket.subscribe()
        assert site.services.hub.client_count == 1

    until(lambda: site.services.hub.client_count == 0, what="the client's leaving")


def test_a_client_that_takes_nothing_is_dropped(
    site: Web, token: str, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "SEND_SECONDS", 0.3)
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    raw.connect(("127.0.0.1", site.port))
    # Its reader stops when one message is not taken; compressed, the test's messages would be next to nothing.
    with opened(site, token, sock=raw, max_queue=1, close_timeout=0, compression=None) as socket:
        socket.subscribe()

        until(
            lambda: tell(size=100_000) and site.services.hub.client_count == 0, what="the lazy client's being dropped"
        )


def test_a_revoked_token_ends_the_socket(site: Web, token: str) -> None:
    with opened(site, token) as socket:
        socket.subscribe()
        site.services.entrance.tokens.revoke(ROOT, "ci")

        with pytest.raises(ConnectionClosed) as closed:
            socket.hear()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401


def test_nobody_listens_without_signing_in(site: Web) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(site, "tko_wrong"):
        pass

    assert refused.value.response.status_code == 403


def test_a_token_has_so_many_connections_and_no_more(site: Web, token: str) -> None:
    other = site.token(Operation.READ, name="other")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(opened(site, token))
        for _ in range(CONNECTIONS_PER_TOKEN - 1):
            stack.enter_context(opened(site, token))
        with pytest.raises(InvalidStatus), opened(site, token):
            pass
        with site.with_token(token) as client:
            refusal = client.get("/api/realtime/queue-events")
        assert (refusal.status_code, refusal.headers["retry-after"]) == (429, "10")
        with opened(site, other) as socket:
            socket.subscribe()

        first.connection.close()
        until(lambda: site.app.state.live.count < CONNECTIONS_PER_TOKEN, what="the end of a connection")
        with opened(site, token) as socket:
            socket.subscribe()


def test_a_frame_that_no_message_can_be_is_not_taken_in(site: Web, token: str) -> None:
    with opened(site, token) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.connection.send("x" * (largest_message_bytes(site.services.settings) + 1))
        socket.hear()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
