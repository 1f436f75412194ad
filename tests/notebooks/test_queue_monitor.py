"""QueueMonitorModel on a true system: true numbers, an outage survived, pausing once and by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go
import pytest

from teknav_ops.access.policy import Operator, Role
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.settings import Settings
from teknav_ops.triage.view_models import QueueMonitorModel, WhatIfModel
from teknav_ops.triage.widgets.queue_monitor import QueueMonitor
from teknav_ops.workbench import Workbench
from tests.conftest import SECRET_KEY
from tests.notebooks.conftest import recorded
from tests.support.databases import migrate
from tests.support.operators import at_command_line
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

QUEUE = "media:optimize"


@pytest.fixture
def model(bench: Workbench, client: Any) -> Iterator[QueueMonitorModel]:
    producer = Producer(client, cipher=Cipher([SECRET_KEY]), timeout_seconds=2, actor=Operator("a", Role.OWNER).name)
    producer.enqueue_many(QUEUE, "optimize-image", [{"file_id": n} for n in range(1, 6)])
    made = QueueMonitorModel(bench, selected=QUEUE)
    yield made
    made.stop()


def test_numbers_are_those_of_the_queues(model: QueueMonitorModel, bench: Workbench) -> None:
    model.refresh()
    assert [row.queue for row in model.rows] == list(bench.topology)
    assert model.current is not None and model.current.waiting == bench.jobs.counts(QUEUE).waiting == 5
    assert len(model.last_hour) in (60, 61) and int(model.last_hour["enqueued"].sum()) == 5
    model.select("email:send")
    assert model.current.waiting == 0 and int(model.last_hour["enqueued"].sum()) == 0


def parts_of(widget: w.Widget) -> list[w.Widget]:
    return [widget, *(part for child in getattr(widget, "children", ()) for part in parts_of(child))]


def test_the_chart_is_an_output_and_whole_whenever_a_browser_draws_it(
    model: QueueMonitorModel, bench: Workbench
) -> None:
    """A widget that a browser must load code for hears no change while it does, and none ever when that takes long."""
    monitor = QueueMonitor(model, bench.topology)
    assert {part._model_module for part in parts_of(monitor)} == {
        "@jupyter-widgets/controls",
        "@jupyter-widgets/output",
    }
    for queue, enqueued in ((QUEUE, 5), ("email:send", 0)):
        model.select(queue)

        (output,) = monitor.chart.outputs
        figure = go.Figure(output["data"]["application/vnd.plotly.v1+json"])
        assert figure.layout.title.text == f"{queue}: finished runs, the last hour"
        assert [bars.name for bars in figure.data] == ["completed", "failed or retried"]
        assert [len(bars.x) for bars in figure.data] == [len(model.last_hour)] * 2
        assert int(model.last_hour["enqueued"].sum()) == enqueued
    monitor.close()


def test_a_queue_is_paused_once_after_its_confirmation_and_by_name(model: QueueMonitorModel, bench: Workbench) -> None:
    model.refresh()
    model.confirm()
    assert model.status == "Nothing waits for a confirmation." and not bench.jobs.counts(QUEUE).paused_since_ms
    model.ask()
    assert model.asked == "pause" and not bench.jobs.counts(QUEUE).paused_since_ms
    model.confirm()
    model.confirm()
    assert model.current is not None and model.current.is_paused
    (entry,) = recorded(bench, "queue.paused")
    assert (entry.actor, entry.queue) == (at_command_line("sara"), QUEUE)

    model.ask()
    assert model.asked == "resume"
    model.confirm()
    assert not model.current.is_paused and len(recorded(bench, "queue.resumed")) == 1


def test_what_an_action_said_outlives_the_next_refresh(settings: Settings, client: Any) -> None:
    bench = Workbench(settings.model_copy(update={"report_run": True}))
    model = QueueMonitorModel(bench, selected=QUEUE)
    model.refresh()
    model.ask()
    model.confirm()
    refused = model.status
    assert model.is_wrong and "unattended run" in refused and not model.is_stale

    model.refresh()
    assert (model.status, model.is_wrong, model.is_stale) == (refused, True, False)
    model.ask()
    assert not model.is_wrong and "Confirm to pause" in model.status
    bench.client.close()
    bench.database.dispose()


def test_whoever_stops_and_watches_again_has_one_watcher(model: QueueMonitorModel) -> None:
    def watchers() -> int:
        return sum(thread.name == "queue-monitor" for thread in threading.enumerate())

    before = watchers()
    for _ in range(3):
        model.watch(0.3)
        model.stop()
    model.watch(0.3)
    until(lambda: watchers() == before + 1, what="the stopped watchers' end")
    model.stop()
    until(lambda: watchers() == before, what="the last watcher's end")


def test_watching_survives_an_outage_and_ends_when_told(own_server: RedisServer, tmp_path: Any) -> None:
    settings = Settings(redis_url=own_server.url, data_dir=tmp_path, operator="sara", secret_key=SECRET_KEY)  # type: ignore[arg-type]
    migrate(settings.sql_url)
    bench = Workbench(settings)
    model = QueueMonitorModel(bench, selected=QUEUE)
    model.refresh()
    model.watch(0.1)
    assert len(model.rows) == len(bench.topology) and not model.is_stale

    own_server.kill()
    until(lambda: model.is_stale and model.is_wrong, what="the outage to be shown")
    assert len(model.rows) == len(bench.topology)
    own_server.start()
    until(lambda: not model.is_stale and not model.is_wrong, what="the return")

    model.stop()
    assert not model.is_watching
    bench.client.close()
    bench.database.dispose()


def test_what_if_reckons_with_the_factors() -> None:
    model = WhatIfModel(rate_per_second=2.0, mean_seconds=3.0, threads=10, backlog_count=0)
    assert "6.0 of 10 threads busy (60%)" in model.status
    model.load_factor = 2.0
    model.reckon()
    assert "the backlog grows" in model.status and "waits grow without end" in model.status
    model.threads = 20
    model.reckon()
    assert "12.0 of 20 threads busy" in model.status and model.estimate.needed_threads == 18
