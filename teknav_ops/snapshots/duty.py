"""The scheduler's duty: look for new rows and publish a snapshot. Needs no extra until it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from teknav_ops.errors import InvalidRequest, SnapshotBusy, SnapshotDiskFull
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database

if TYPE_CHECKING:
    from teknav_ops.snapshots.export import Exporter

log = structlog.get_logger("teknav.snapshots")

#: A step ends after so long, so that a scheduler can stop in the middle of a first load.
_STEP_SECONDS: Final = 8.0


class SnapshotDuty:
    """Exports step by step; without the `snapshots` extra it says so once and does nothing."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._exporter: Exporter | None = None
        self._is_missing = False

    def step(self) -> bool:
        """One bounded step; True when there is more to do."""
        exporter = self._get_exporter()
        if exporter is None:
            return False
        try:
            done = exporter.export(max_seconds=_STEP_SECONDS)
        except SnapshotBusy:
            return False
        except SnapshotDiskFull as error:
            log.error("snapshot.disk_full", error=str(error))
            return False
        if done.path is not None:
            log.info(
                "snapshot.published", file=done.path.name, rows=done.row_count, added=done.added,
                seconds=round(done.seconds, 3),
            )  # fmt: skip
        if done.is_waiting:
            log.info("snapshot.waiting", reason="a transaction that writes the audit trail has been open for long")
        return done.has_more

    def _get_exporter(self) -> Exporter | None:
        if self._exporter is None and not self._is_missing:
            try:
                from teknav_ops.snapshots.export import Exporter

                self._exporter = Exporter.from_settings(self._settings, self._database)
            except InvalidRequest as error:
                self._is_missing = True
                log.warning("snapshot.none", reason=str(error))
        return self._exporter
