"""The scheduler's duties about alerts: look, deliver, keep hours."""

from __future__ import annotations

from teknav_ops.alerts.deliveries import DELIVER_SECONDS, Deliveries
from teknav_ops.alerts.evaluation import EVALUATE_SECONDS, AlertWatch
from teknav_ops.alerts.hours import HOURS_SECONDS, HourBook
from teknav_ops.alerts.ledger import prune
from teknav_ops.alerts.setup import alert_setup
from teknav_ops.redis_state.connection import Client
from teknav_ops.runtime.duties import Duty
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.topology import TOPOLOGY

_PRUNE_SECONDS = 3_600.0


def alert_duties(settings: Settings, client: Client, database: Database) -> list[Duty]:
    """All of them. Raises InvalidRequest when a rule or a channel is wrong."""
    setup = alert_setup(settings)
    hours = HourBook(client, database, TOPOLOGY)
    watch = AlertWatch(
        client, database, TOPOLOGY, setup.rules, setup.channels,
        hours=lambda: hours.known, site_url=setup.site_url,
    )  # fmt: skip
    deliveries = Deliveries(database, setup.channels)
    return [
        Duty(name="alerts", every_seconds=EVALUATE_SECONDS, run=watch.step),
        Duty(name="alert-deliveries", every_seconds=DELIVER_SECONDS, run=deliveries.step),
        Duty(name="alert-hours", every_seconds=HOURS_SECONDS, run=hours.step),
        Duty(name="alert-prune", every_seconds=_PRUNE_SECONDS, run=lambda: prune(database)),
    ]
