"""The desk: where a report is asked for. Checks, records, runs, publishes, alerts, delivers, tidies up."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from teknav_ops.audit.operator_log import OperatorAction, OperatorLog
from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.reports.alerting import ReportAlerts
from teknav_ops.reports.catalogue import Catalogue, Report
from teknav_ops.reports.delivery import Courier
from teknav_ops.reports.index import write_index
from teknav_ops.reports.parameters import check_parameters
from teknav_ops.reports.runner import Runner
from teknav_ops.reports.runs import Order, RunMeta, Tick, new_run, silent
from teknav_ops.reports.schedules import Deliver
from teknav_ops.reports.store import ReportStore
from teknav_ops.reports.workroom import Workroom
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.reports")

_START_SECONDS: Final = 60
_EXTRA: Final = ("papermill", "nbconvert", "plotly")


class ReportDesk:
    """Runs reports for people, for cron and for the scheduler. Any number may be open on one folder."""

    def __init__(self, settings: Settings, database: Database, *, courier: Courier | None = None) -> None:
        """Raises InvalidRequest when a setting about alerts or posts is wrong."""
        self._settings = settings
        self.store = ReportStore(settings.report_root)
        self.catalogue = Catalogue(settings.notebooks_root)
        self.alerts = ReportAlerts.from_settings(settings, database)
        self._room = Workroom(settings.report_root)
        self._log = OperatorLog(database)
        self._courier = courier or Courier(settings, self.store)

    def run(
        self, name: str, given: Mapping[str, Any], *, who: str, schedule: str | None = None,
        allow_replay: bool = False, deliver: Deliver | None = None, is_over: Callable[[], bool] = lambda: False,
        tick: Tick = silent,
    ) -> RunMeta:  # fmt: skip
        """Run a report now and wait for it. However it ends, it is published and the answer says how.

        `is_over` ends it before its time.

        Raises:
            InvalidRequest: unknown report, wrong parameter, or a missing extra; nothing was run.
            ReportsBusy: too many run. StorageUnavailable: it may replay, and that cannot be recorded.
        """
        report = self.catalogue.get(name)
        parameters = check_parameters(name, report.parameters, given)
        require_extra()
        runner = Runner(
            self._room, wall_seconds=self._settings.report_seconds, data_dir=self._settings.data_dir, is_over=is_over,
            tick=tick,
        )  # fmt: skip
        for cleared in runner.clear_leftovers():
            self.alerts.tell(cleared)
        with self._room.slot(self._settings.report_seconds, is_over, tick):
            order = self._order(report, parameters, who=who, schedule=schedule, allow_replay=allow_replay)
            with self._recorded(order) as entry:
                meta = runner.execute(order)
                if entry is not None:
                    entry.note(status=meta.status, **({"error": meta.error} if meta.error else {}))
        self._tidy(name)
        if meta.status == "killed" and is_over():
            # By us, and whoever ended it runs it again.
            return meta
        self.alerts.tell(meta)
        return self._courier.deliver(meta, deliver, tick) if deliver is not None else meta

    def _order(self, report: Report, parameters: dict[str, Any], **more: Any) -> Order:
        now = datetime.now(UTC)
        return Order(
            name=report.name, run=new_run(now), title=report.title, notebook=str(report.path.absolute()),
            parameters=parameters, started_at=now, time_zone=self._settings.site_time_zone,
            cell_seconds=self._settings.report_cell_seconds, start_seconds=_START_SECONDS, **more,
        )  # fmt: skip

    @contextlib.contextmanager
    def _recorded(self, order: Order) -> Iterator[OperatorAction | None]:
        """In AuditLog. A report that only reads is run without it when SQL is away: that is when it is needed."""
        with contextlib.ExitStack() as stack:
            entry = None
            try:
                facts: dict[str, Any] = {"report": order.name, "run": order.run, "parameters": order.parameters}
                record = self._log.record(
                    "report.run", actor=order.who, **facts, schedule=order.schedule, allow_replay=order.allow_replay
                )
                entry = stack.enter_context(record)
            except StorageUnavailable as error:
                if order.allow_replay:
                    raise
                log.warning("report.not_recorded", report=order.name, run=order.run, error=str(error))
            try:
                yield entry
            finally:
                with contextlib.suppress(StorageUnavailable):
                    stack.close()

    def _tidy(self, name: str) -> None:
        """Retention and the index; the run itself is published already."""
        try:
            self.store.retain(
                name, keep_count=self._settings.report_keep_count, keep_days=self._settings.report_keep_days
            )
            write_index(self.store, self._room)
        except OSError as error:
            log.warning("report.not_tidied", error=str(error))


def require_extra() -> None:
    """Raises InvalidRequest where what runs notebooks is not installed."""
    missing = next((name for name in _EXTRA if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise InvalidRequest(f"{missing} is missing: pip install 'teknav-ops[lab]'")
