"""The folder of published reports: `NAME/RUN/{out.ipynb,report.html,meta.json,log.txt}`. Reading it, and retention."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from teknav_ops.durable_files import write_whole
from teknav_ops.reports.catalogue import UnknownReport
from teknav_ops.reports.runs import NAME, RUN, RunMeta

log = structlog.get_logger("teknav.reports")

PAGE: Final = "report.html"
NOTEBOOK: Final = "out.ipynb"
META: Final = "meta.json"
LOG: Final = "log.txt"
#: What of a run may be asked for.
FILES: Final = (PAGE, NOTEBOOK, META, LOG)
ASSETS: Final = "assets"
#: Unfinished runs and locks.
WORKROOM: Final = ".run"


class ReportStore:
    """Reads what was published. A run is complete as soon as its folder exists."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Reports that have runs."""
        return sorted(path.name for path in _folders(self.root) if NAME.fullmatch(path.name) and path.name != ASSETS)

    def newest(self) -> list[RunMeta]:
        """The newest run of each report, by name."""
        return [runs[0] for name in self.names() if (runs := self.history(name, limit=1))]

    def history(self, name: str, *, limit: int = 50) -> list[RunMeta]:
        """A report's runs, newest first. One whose `meta.json` cannot be read is left out."""
        return list(itertools.islice(self._readable(name, self.runs(name)), limit))

    def page(self, name: str, *, before: str | None, limit: int) -> tuple[list[RunMeta], int, str | None]:
        """So many of a report's runs before one, newest first; how many there are in all; and before which to go on."""
        runs = self.runs(name)
        older = [run for run in runs if before is None or run < before]
        return list(self._readable(name, older[:limit])), len(runs), older[limit - 1] if len(older) > limit else None

    def runs(self, name: str) -> list[str]:
        """Ids of a report's runs, newest first."""
        if not NAME.fullmatch(name) or name == ASSETS:
            return []
        return sorted((path.name for path in _folders(self.root / name) if RUN.fullmatch(path.name)), reverse=True)

    def get(self, name: str, run: str | None = None) -> RunMeta:
        """One run; the newest when none is named. Raises UnknownReport."""
        if run is None:
            newest = self.history(name, limit=1)
            if not newest:
                raise UnknownReport(f"report: {name!r} has not been run yet; `teknav report run {name}` runs it")
            return newest[0]
        return self._read(name, run)

    def file(self, name: str, run: str, file: str) -> Path:
        """Where a file of a run is. Names that could lead elsewhere are unknown. Raises UnknownReport."""
        path = self.folder(name, run) / file
        if file not in FILES or not path.is_file():
            raise UnknownReport(f"report: {name}/{run} holds no {file!r}; there are: {', '.join(FILES)}")
        return path

    def folder(self, name: str, run: str) -> Path:
        """Where a run is, or would be. Raises UnknownReport for what can be no run."""
        if not NAME.fullmatch(name) or name == ASSETS or not RUN.fullmatch(run):
            raise UnknownReport(f"report: no run {run!r} of {name!r}; `teknav report history` lists them")
        return self.root / name / run

    def rewrite(self, meta: RunMeta) -> None:
        """Replace a published run's `meta.json`, as a whole or not at all. A run that was removed stays removed."""
        folder = self.folder(meta.name, meta.run)
        with contextlib.suppress(FileNotFoundError):
            write_whole(folder / META, meta.model_dump_json(indent=1))

    def retain(self, name: str, *, keep_count: int, keep_days: int) -> int:
        """Remove runs beyond the newest `keep_count`, and those older than `keep_days`, but never the newest.

        Answers how many.
        """
        oldest = f"{datetime.now(UTC) - timedelta(days=keep_days):%Y%m%dT%H%M%SZ}"
        old = [run for at, run in enumerate(self.runs(name)) if at > 0 and (at >= keep_count or run < oldest)]
        for run in old:
            self._remove(self.root / name / run)
        return len(old)

    def _readable(self, name: str, runs: Iterable[str]) -> Iterator[RunMeta]:
        for run in runs:
            with contextlib.suppress(UnknownReport):
                yield self._read(name, run)

    def _read(self, name: str, run: str) -> RunMeta:
        path = self.folder(name, run) / META
        try:
            return RunMeta.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UnknownReport(f"report: no run {run!r} of {name!r}; `teknav report history` lists them") from None
        except (ValidationError, OSError) as error:
            log.warning("report.unreadable", path=str(path), error=str(error))
            raise UnknownReport(f"report: {path} cannot be read") from None

    def _remove(self, folder: Path) -> None:
        """Out of sight first: a run is seen whole or not at all."""
        trash = self.root / WORKROOM / f".trash-{secrets.token_hex(6)}"
        with contextlib.suppress(OSError):
            trash.parent.mkdir(mode=0o700, exist_ok=True)
            folder.rename(trash)
            shutil.rmtree(trash)


def _folders(parent: Path) -> Iterable[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
