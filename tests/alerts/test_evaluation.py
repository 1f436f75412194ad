"""Alerts on a real Redis and both databases: told once, resolved once, whoever dies in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import redis

from teknav_ops.access.policy import Operator, Role
from teknav_ops.alerts.deliveries import Deliveries
from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.alerts.silences import Silences
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.redis_state.keys import ALERTS_OPEN, ALERTS_SINCE
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert
from tests.alerts.conftest import HEARTBEAT, INFLOW, NewWatch, deliver, told
from tests.support.http_receiver import HttpReceiver
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until

OPENED = ("alert.opened", "dlq-inflow", [QUEUE])
RESOLVED = ("alert.resolved", "dlq-inflow", [QUEUE])


def calm_down(client: redis.Redis) -> None:
    """As if the minutes with failures had passed out of every window."""
    for key in client.scan_iter(match=KEYS.minute_family + "*"):
        client.delete(key)


@pytest.mark.each_database
def test_an_alert_is_told_once_and_resolved_once(
    state: State, database: Database, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    watch = new_watch(INFLOW, site_url="https://ops.example/")
    watch.step()
    deliver(deliveries)
    assert receiver.requests == []

    state.dead()
    for _ in range(3):
        watch.step()
        deliver(deliveries)
    (opened,) = AlertQueries(database).open()
    assert (opened.severity, opened.value, opened.unit) == ("ticket", 1, "jobs")
    assert told(receiver) == [OPENED]

    calm_down(state.client)
    # The next scheduler: what this one remembers of minutes that are over is not so any more.
    after = new_watch(INFLOW)
    for _ in range(3):
        after.step()
        deliver(deliveries)

    assert told(receiver) == [OPENED, RESOLVED]
    assert len(receiver.requests) == 2
    (over,) = AlertQueries(database).recent()
    assert (
        over.resolved_at is not None and over.resolution == "test:work: 0 new dead letters in 2 min (limit 0), 1 in all"
    )
    body = json.loads(receiver.requests[0].body)
    assert body["text"] == (
        "[ticket] dlq-inflow: test:work\n"
        "test:work: 1 new dead letters in 2 min (limit 0), 1 in all\n"
        "Runbook: docs/runbook/alerts/DlqInflow.md\n"
        "https://ops.example/dashboard/owner/queues/test%3Awork"
    )


def test_an_open_alert_tells_how_it_looks_now_and_how_it_looked_at_first(
    state: State, database: Database, new_watch: NewWatch
) -> None:
    queries = AlertQueries(database, state.client)
    state.dead()
    new_watch(INFLOW).step()
    (opened,) = queries.open()
    for _ in range(4):
        state.dead()

    # Another scheduler, which has not opened it.
    new_watch(INFLOW).step()

    (now,) = queries.open()
    assert (opened.value, opened.message) == (opened.first_value, opened.first_message)
    assert (now.value, now.first_value) == (5, 1) and now.since_at == opened.since_at
    assert now.message == "test:work: 5 new dead letters in 2 min (limit 0), 5 in all"
    assert now.first_message == "test:work: 1 new dead letters in 2 min (limit 0), 1 in all"
    assert now.measured_at is not None and opened.measured_at is not None and now.measured_at >= opened.measured_at
    # SQL alone knows how it began.
    (known,) = AlertQueries(database).open()
    assert (known.value, known.measured_at) == (1, None)
    calm_down(state.client)
    new_watch(INFLOW).step()
    new_watch(INFLOW).step()
    (over,) = queries.recent()
    assert (over.value, over.first_value) == (1, 1) and queries.open() == []


def test_a_full_redis_is_told(
    client: redis.Redis, database: Database, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    watch = new_watch({"kind": "redis_memory", "severity": "page", "for_seconds": 0, "clear_seconds": 0})
    client.config_set("maxmemory", 1)
    try:
        for _ in range(2):
            watch.step()
            deliver(deliveries)
        assert told(receiver) == [("alert.opened", "redis-memory", ["test:work"])]
    finally:
        client.config_set("maxmemory", 0)

    watch.step()
    assert AlertQueries(database).open() == []


@pytest.mark.each_database
def test_alerts_of_a_window_are_those_that_were_open_in_it(database: Database) -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def alert(rule: str, opened: int, resolved: int | None, queue: str = "test:work") -> Alert:
        at = noon + timedelta(minutes=opened)
        over = None if resolved is None else noon + timedelta(minutes=resolved)
        return Alert(
            rule=rule, kind="backlog-age", severity="page", queue=queue, since_at=at, opened_at=at, resolved_at=over,
            message=rule, value=1.0, unit="jobs",
        )  # fmt: skip

    with database.session() as session:
        session.add_all([
            alert("before", -20, -10), alert("into", -20, 5), alert("within", 10, 20), alert("still", 30, None),
            alert("after", 61, None), alert("elsewhere", 15, 16, queue="test:other"),
        ])  # fmt: skip
    queries, end = AlertQueries(database), noon + timedelta(hours=1)

    assert [found.rule for found in queries.in_window(noon, end)] == ["still", "elsewhere", "within", "into"]
    assert [found.rule for found in queries.in_window(noon, end, queues=["test:other"])] == ["elsewhere"]
    assert [found.rule for found in queries.in_window(noon, end, limit=1)] == ["still"]


@pytest.mark.each_database
def test_restarts_failovers_and_two_leaders_at_once_repeat_nothing(
    state: State, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    state.dead()
    first, second = new_watch(INFLOW), new_watch(INFLOW)

    for watch in (first, second, first, new_watch(INFLOW)):
        watch.step()
        deliver(deliveries)

    assert told(receiver) == [OPENED] and len(receiver.requests) == 1


def test_a_redis_that_forgot_everything_neither_repeats_an_alert_nor_leaves_it_open(
    state: State, client: redis.Redis, database: Database, new_watch: NewWatch, deliveries: Deliveries,
    receiver: HttpReceiver,
) -> None:  # fmt: skip
    state.dead()
    new_watch(INFLOW).step()
    deliver(deliveries)
    minutes = {key: client.hgetall(key) for key in client.scan_iter(match=KEYS.minute_family + "*")}

    client.flushall()
    for key, fields in minutes.items():
        client.hset(key, mapping=fields)
    new_watch(INFLOW).step()
    assert len(AlertQueries(database).open()) == 1

    client.flushall()
    new_watch(INFLOW).step()
    deliver(deliveries)

    assert told(receiver) == [OPENED, RESOLVED]


def test_queues_that_break_together_are_one_message(
    state: State, client: redis.Redis, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    state.enqueue()
    client.rpush("teknav:{test:other}:waiting", "job-1")

    new_watch(HEARTBEAT).step()
    deliver(deliveries)

    assert told(receiver) == [("alert.opened", "no-heartbeat", ["test:work", "test:other"])]
    text = json.loads(receiver.requests[0].body)["text"]
    assert text.startswith("[page] no-heartbeat: 2 queues\ntest:work: 1 jobs wait and no worker processes answer\n")


def test_a_condition_must_hold_its_time_across_restarts(
    state: State, client: redis.Redis, database: Database, new_watch: NewWatch
) -> None:
    state.dead()
    patient = {**INFLOW, "for_seconds": 3_600}
    new_watch(patient).step()
    assert AlertQueries(database).open() == []
    key = f"dlq-inflow|{QUEUE}"
    began_ms = int(client.hget(ALERTS_SINCE, key).split()[1])

    client.hset(ALERTS_SINCE, key, f"firing {began_ms - 3_601_000}")
    new_watch(patient).step()

    (opened,) = AlertQueries(database).open()
    assert opened.opened_at - opened.since_at > timedelta(hours=1)


def test_an_alert_of_a_rule_that_was_taken_out_is_resolved(
    state: State, client: redis.Redis, new_watch: NewWatch, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    state.dead()
    new_watch(INFLOW).step()

    new_watch(HEARTBEAT).step()
    deliver(deliveries)

    assert told(receiver) == [OPENED, RESOLVED]
    assert "watched no more" in json.loads(receiver.requests[1].body)["text"]
    assert client.hgetall(ALERTS_OPEN) == {}
    assert all(key.startswith("no-heartbeat|") for key in client.hkeys(ALERTS_SINCE))


def test_a_damaged_queue_keeps_its_alert(state: State, database: Database, new_watch: NewWatch) -> None:
    state.dead()
    new_watch(INFLOW).step()

    state.client.delete(KEYS.waiting)
    state.client.set(KEYS.waiting, "damaged")
    new_watch(INFLOW).step()

    assert len(AlertQueries(database).open()) == 1


@pytest.mark.each_database
def test_a_silence_holds_back_what_would_open_and_nothing_else(
    state: State, client: redis.Redis, database: Database, new_watch: NewWatch, deliveries: Deliveries,
    receiver: HttpReceiver,
) -> None:  # fmt: skip
    silences = Silences(Operator("sara", Role.OWNER), OperatorLog(database), {"dlq-inflow"}, TOPOLOGY)
    silences.silence("dlq-inflow", QUEUE, span=timedelta(hours=1), reason="replaying by hand")
    state.dead()
    watch = new_watch(INFLOW)
    watch.step()
    assert AlertQueries(database).open() == []

    silences.end("dlq-inflow", QUEUE)
    watch.step()
    assert len(AlertQueries(database).open()) == 1

    silences.silence("dlq-inflow", None, span=timedelta(hours=1), reason="we know")
    calm_down(client)
    new_watch(INFLOW).step()
    deliver(deliveries)

    assert told(receiver) == [OPENED, RESOLVED]


def test_without_channels_alerts_are_kept_all_the_same(state: State, database: Database, new_watch: NewWatch) -> None:
    state.dead()

    new_watch(INFLOW, channels=[]).step()

    assert len(AlertQueries(database).open()) == 1
    assert AlertQueries(database).undelivered() == []
    assert Deliveries(database, []).step() is False


@pytest.mark.each_database
def test_workers_that_come_back_resolve_the_page(
    state: State, client: redis.Redis, database: Database, new_watch: NewWatch
) -> None:
    state.enqueue()
    watch = new_watch(HEARTBEAT)
    watch.step()
    assert AlertQueries(database).open_count() == 1

    seconds, _ = client.time()
    client.zadd(KEYS.workers, {"host:1": int(seconds) * 1000})
    watch.step()

    until(lambda: AlertQueries(database).open_count() == 0)
