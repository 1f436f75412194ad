"""Alerts about reports while SQL is away: told directly and once, unless they were over or nobody took them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from teknav_ops.alerts.channels import open_channels
from teknav_ops.reports.alerting import ReportAlerts
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert, AlertDelivery
from tests.reports.test_store import publish
from tests.support.databases import migrate
from tests.support.http_receiver import Answer, HttpReceiver

SINCE = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def missing_database(tmp_path: Path) -> Iterator[Database]:
    """A database whose folder is not there yet."""
    opened = Database.open(f"sqlite:///{tmp_path / 'later' / 'x.sqlite3'}")
    yield opened
    opened.dispose()


@pytest.fixture
def alerts(missing_database: Database, receiver: HttpReceiver) -> ReportAlerts:
    return ReportAlerts(
        missing_database, open_channels(Settings(alert_webhook_url=f"{receiver.url}/hook")), site_url=None
    )


def told(receiver: HttpReceiver) -> list[tuple[str, str]]:
    bodies = [json.loads(request.body) for request in receiver.requests]
    return [(body["data"]["rule"], alert["queue"]) for body in bodies for alert in body["data"]["alerts"]]


def test_what_is_looked_at_every_minute_is_told_once(
    alerts: ReportAlerts, receiver: HttpReceiver, tmp_path: Path
) -> None:
    for _ in range(3):
        alerts.late("daily", SINCE)
        alerts.late("weekly", SINCE)
    assert told(receiver) == [("report-late", "daily"), ("report-late", "weekly")]

    alerts.tell(publish(tmp_path, "daily"))
    alerts.late("daily", SINCE)
    assert told(receiver)[2:] == [("report-late", "daily")]


def test_what_nobody_took_is_told_again(alerts: ReportAlerts, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(500), Answer(200)]
    for _ in range(3):
        alerts.late("daily", SINCE)
    assert told(receiver) == [("report-late", "daily")] * 2


def test_when_sql_is_back_it_is_in_the_ledger_and_goes_its_usual_way(
    alerts: ReportAlerts, missing_database: Database, receiver: HttpReceiver, tmp_path: Path
) -> None:
    alerts.late("daily", SINCE)
    (tmp_path / "later").mkdir(exist_ok=True)
    migrate(f"sqlite:///{tmp_path / 'later' / 'x.sqlite3'}")

    for _ in range(2):
        alerts.late("daily", SINCE)

    assert len(receiver.requests) == 1
    with missing_database.reading() as session:
        assert len(session.scalars(select(Alert)).all()) == len(session.scalars(select(AlertDelivery)).all()) == 1
