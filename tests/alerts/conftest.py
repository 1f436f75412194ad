"""What alert tests share: receivers, rules on the small topology, and a watch with everything real."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from teknav_ops.alerts.channels import Channel, open_channels
from teknav_ops.alerts.deliveries import Deliveries
from teknav_ops.alerts.evaluation import AlertWatch
from teknav_ops.alerts.rules import Rule, parse_rules
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from tests.support.http_receiver import HttpReceiver
from tests.support.state import State
from tests.support.topology import TOPOLOGY

NewWatch = Callable[..., AlertWatch]


def rules(*listed: dict[str, Any]) -> tuple[Rule, ...]:
    return parse_rules(json.dumps(listed), TOPOLOGY)


def told(receiver: HttpReceiver) -> list[tuple[str, str, list[str]]]:
    """(event, rule, queues) of each different message, in order; copies are dropped by their id, as receivers do."""
    messages = {}
    for request in receiver.requests:
        body = json.loads(request.body)
        queues = [alert["queue"] for alert in body["data"]["alerts"]]
        messages.setdefault(request.headers["webhook-id"], (body["type"], body["data"]["rule"], queues))
    return list(messages.values())


#: Fires at the first dead letter, is over when there are none, without waiting.
INFLOW = {"kind": "dlq_inflow", "limit_count": 0, "window_minutes": 2, "clear_seconds": 0}
#: Fires while jobs wait that nobody serves.
HEARTBEAT = {"kind": "no_heartbeat", "for_seconds": 0, "clear_seconds": 0}


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


@pytest.fixture
def channels(receiver: HttpReceiver) -> list[Channel]:
    return open_channels(Settings(alert_webhook_url=f"{receiver.url}/hook"))


@pytest.fixture
def new_watch(client: redis.Redis, database: Database, channels: list[Channel]) -> NewWatch:
    """A watch as a newly started scheduler makes it."""

    def make(*listed: dict[str, Any], on: Database = database, **options: Any) -> AlertWatch:
        made: Sequence[Channel] = options.pop("channels", channels)
        return AlertWatch(client, on, TOPOLOGY, rules(*listed), made, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def deliveries(database: Database, channels: list[Channel]) -> Deliveries:
    return Deliveries(database, channels)


def deliver(deliveries: Deliveries) -> None:
    """Until nothing is due."""
    while deliveries.step():
        pass
