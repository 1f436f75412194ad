"""Alerts while SQL is unreachable: told all the same, once, and put on record when it is back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import redis

from teknav_ops.alerts.bounded import BoundedCalls
from teknav_ops.alerts.channels import open_channels
from teknav_ops.alerts.deliveries import Deliveries
from teknav_ops.alerts.notices import AlertState
from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.errors import StorageUnavailable
from teknav_ops.redis_state.keys import ALERTS_OPEN
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from tests.alerts.conftest import HEARTBEAT, INFLOW, NewWatch, deliver, told
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.ports import free_port, listen, port_of
from tests.support.smtp_receiver import SmtpReceiver
from tests.support.state import KEYS, QUEUE, State

LAG = {"kind": "audit_lag", "for_seconds": 0, "clear_seconds": 0}
OPENED = ("alert.opened", "audit-lag", [QUEUE])


@pytest.fixture(params=["unreachable", "silent"])
def unreachable(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A PostgreSQL that is not there, and one that takes the connection and never says a word."""
    with listen() as silent:
        port = port_of(silent) if request.param == "silent" else free_port()
        database = Database.open(f"postgresql+psycopg://nobody@127.0.0.1:{port}/nowhere")
        yield database
    database.dispose()


def lagging(state: State) -> None:
    """An entry has waited for AuditLog since long ago."""
    state.client.xadd(KEYS.audit, {"action": "job.enqueued", "job_id": "job-1"}, id="1-1")


def remembered(client: redis.Redis) -> list[AlertState]:
    return [AlertState.model_validate_json(text) for text in client.hvals(ALERTS_OPEN)]


def test_an_alert_goes_out_though_sql_is_away_and_is_put_on_record_untold(
    state: State, unreachable: Database, database: Database, new_watch: NewWatch, deliveries: Deliveries,
    receiver: HttpReceiver,
) -> None:  # fmt: skip
    lagging(state)
    for _ in range(2):
        new_watch(LAG, on=unreachable, sql_seconds=0.5).step()
    assert told(receiver) == [OPENED] and len(receiver.requests) == 1
    (state_kept,) = remembered(state.client)
    assert (state_kept.told, state_kept.is_recorded) == (("webhook",), False)

    back = new_watch(LAG)
    back.step()
    deliver(deliveries)
    (opened,) = AlertQueries(database).open()
    assert opened.since_at == state_kept.since_at and len(receiver.requests) == 1
    assert [kept.is_recorded for kept in remembered(state.client)] == [True]

    state.client.delete(KEYS.audit)
    back.step()
    deliver(deliveries)

    assert told(receiver) == [OPENED, ("alert.resolved", "audit-lag", [QUEUE])]
    assert remembered(state.client) == []


def test_a_channel_that_did_not_take_it_is_tried_again_and_the_others_are_not(
    state: State, unreachable: Database, new_watch: NewWatch, receiver: HttpReceiver, inbox: SmtpReceiver
) -> None:
    lagging(state)
    settings = {"alert_webhook_url": receiver.url, "alert_mail_to": ("a@example.com",), "smtp_url": inbox.url}
    watch = new_watch(LAG, on=unreachable, sql_seconds=0.5, channels=open_channels(Settings(**settings)))  # type: ignore[arg-type]
    receiver.answers = [Answer(500), Answer(200)]

    for _ in range(3):
        watch.step()

    assert [request.headers["webhook-id"] for request in receiver.requests] == [
        receiver.requests[0].headers["webhook-id"]
    ] * 2
    assert len(inbox.mails) == 1
    assert remembered(state.client)[0].told == ("mail:a@example.com", "webhook")


def test_what_was_sent_before_the_process_died_carries_the_same_id_when_it_is_sent_again(
    state: State, unreachable: Database, new_watch: NewWatch, receiver: HttpReceiver
) -> None:
    lagging(state)
    new_watch(LAG, on=unreachable, sql_seconds=0.5).step()

    # As if it had died between sending and writing down.
    state.client.delete(ALERTS_OPEN)
    new_watch(LAG, on=unreachable, sql_seconds=0.5).step()

    assert len(receiver.requests) == 2 and told(receiver) == [OPENED]


def test_an_alert_that_was_open_before_is_not_told_again_while_sql_is_away(
    state: State, unreachable: Database, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    state.dead()
    new_watch(INFLOW).step()
    deliver(deliveries)

    new_watch(INFLOW, on=unreachable, sql_seconds=0.5).step()

    assert len(receiver.requests) == 1


@pytest.mark.each_database
def test_what_opened_and_ended_while_sql_was_away_is_resolved_when_it_is_back(
    state: State, unreachable: Database, database: Database, new_watch: NewWatch, deliveries: Deliveries,
    receiver: HttpReceiver,
) -> None:  # fmt: skip
    state.enqueue()
    new_watch(HEARTBEAT, on=unreachable, sql_seconds=0.5).step()
    state.fetch()
    new_watch(HEARTBEAT, on=unreachable, sql_seconds=0.5).step()
    assert len(receiver.requests) == 1

    watch = new_watch(HEARTBEAT)
    for _ in range(2):
        watch.step()
    deliver(deliveries)

    assert [event for event, _, _ in told(receiver)] == ["alert.opened", "alert.resolved"]
    assert AlertQueries(database).open() == [] and len(AlertQueries(database).recent()) == 1
    assert json.loads(receiver.requests[1].body)["data"]["alerts"][0]["resolved_at"] is not None


def test_a_call_that_hangs_is_given_up_and_no_second_one_is_begun_beside_it() -> None:
    with listen() as silent:
        client = socket.create_connection(silent.getsockname())
        calls = BoundedCalls(0.1)
        with pytest.raises(StorageUnavailable, match=r"within 0\.1 s"):
            calls.run(lambda: client.recv(1))
        with pytest.raises(StorageUnavailable, match="earlier question"):
            calls.run(lambda: b"")
        peer, _ = silent.accept()
        peer.close()
        client.close()


def test_a_bounded_call_answers_and_fails_as_the_call_itself() -> None:
    calls = BoundedCalls(5)

    assert calls.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        calls.run(lambda: 1 // 0)
