"""A small system that has done true work: jobs completed, jobs given up, a snapshot published."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
import pytest
from sqlalchemy import select

from teknav_ops.access.policy import Operator, Role
from teknav_ops.jobs.states import JobState
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.settings import Settings
from teknav_ops.snapshots.export import Exporter
from teknav_ops.storage.tables import AuditLog, File
from teknav_ops.topology import TOPOLOGY
from teknav_ops.workbench import Workbench
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.system import TREE, System
from tests.support.waiting import until

NOTEBOOKS = TREE / "ops_notebooks"
QUEUE = "media:optimize"
#: Files that exist from the beginning, and files that do not.
FOUND, MISSING = range(1, 8), range(901, 913)
MAIN = "from teknav_ops.cli.app import main; main()"


#: What the report of each notebook is asked with, so that no limit ends it.
PARAMETERS: dict[str, dict[str, Any]] = {
    "queue_health": {"error_rate_limit": 1},
    "p95_durations": {"queue": QUEUE},
    "dlq_triage": {"queue": QUEUE},
    "slo_report": {"budget_limit": 1_000},
    "capacity_forecast": {"queue": QUEUE, "utilisation_limit": 1_000},
    "incident_review": {},
    "ai_costs": {},
}
_HEARTBEAT_AHEAD_MS = 24 * 3_600_000


@dataclasses.dataclass
class ReportRun:
    """What `teknav report run` said, and what it published."""

    exit_code: int
    meta: dict[str, Any]
    page: Path

    @functools.cached_property
    def notebook(self) -> nbformat.NotebookNode:
        return nbformat.read(self.page.with_name("out.ipynb"), as_version=4)


@dataclasses.dataclass
class Lab:
    """The system, and how programs reach it."""

    system: System
    redis: RedisServer
    completed: list[str]
    buried: list[str]

    def __post_init__(self) -> None:
        self._reports: dict[str, ReportRun] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What `teknav lab` would give to Jupyter; the processes of reports and kernels start in milliseconds."""
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("TEKNAV_", "JUPYTER"))}
        return quiet | {
            "TEKNAV_REDIS_URL": self.redis.url, "TEKNAV_DATA_DIR": str(self.system.folder),
            "TEKNAV_SECRET_KEY": SECRET_KEY, "TEKNAV_OPERATOR": "sara", "PYTHONPATH": str(TREE),
            "JUPYTER_PREFER_ENV_PATH": "1", "PLOTLY_RENDERER": "plotly_mimetype",
            "IPYTHONDIR": str(self.system.folder / "ipython"),
            warm_python.EXECUTABLE_VARIABLE: warm_python.executable(),
        }  # fmt: skip

    def upload(self, numbers: range) -> None:
        """Give these files to the system: what failed for want of them can be repaired by a replay."""
        photos = Path(str(resources.files("teknav_ops.sample_content").joinpath("photos")))
        photo = min(photos.glob("*.jpg"), key=lambda path: path.stat().st_size)
        folder = self.system.settings.media_root / "originals"
        folder.mkdir(parents=True, exist_ok=True)
        with self.system.services.database.session() as session:
            for number in numbers:
                shutil.copy(photo, folder / f"{number}.jpg")
                session.add(File(id=number, storage_path=f"originals/{number}.jpg", original_name=photo.name))

    def enqueue(self, numbers: range) -> list[str]:
        producer = self.system.services.producer(Operator("platform", Role.OWNER))
        return [producer.enqueue(QUEUE, "optimize-image", {"file_id": number}).job_id for number in numbers]

    def are(self, state: JobState, ids: list[str]) -> Callable[[], bool]:
        return lambda: all(self.system.services.jobs.get(QUEUE, job).state is state for job in ids)

    def report(self, name: str) -> ReportRun:
        """The run of this notebook as a report: made once, for all who ask about it."""
        if name not in self._reports:
            parameters = {"job": self.completed[0]} if name == "job_story" else PARAMETERS[name]
            self._reports[name] = self.run_report(name, **parameters)
        return self._reports[name]

    def run_report(self, name: str, **parameters: Any) -> ReportRun:
        """`teknav report run`, anew."""
        given = [word for key, value in parameters.items() for word in ("--param", f"{key}={value}")]
        ended = warm_python.run(
            [sys.executable, "-c", MAIN, "report", "run", name, *given, "--json"], cwd=TREE, capture_output=True,
            text=True, timeout=100, check=False, env=self.environment,
        )  # fmt: skip
        assert ended.stdout, ended.stderr[-4_000:]
        meta = json.loads(ended.stdout)
        return ReportRun(ended.returncode, meta, self.system.settings.report_root / name / meta["run"] / "report.html")

    def papermill(self, name: str, folder: Path, changes: dict[str, str] | None = None, **parameters: Any) -> Papermill:
        """Run a notebook with papermill's own command line, in a changed environment."""
        target = folder / "output.ipynb"
        given = [word for key, value in parameters.items() for word in ("-p", key, str(value))]
        words = [str(NOTEBOOKS / f"{name}.ipynb"), str(target), "-k", "python3", "--no-progress-bar", *given]
        finished = warm_python.run(
            [sys.executable, "-m", "papermill", *words], env=self.environment | (changes or {}), cwd=TREE,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        return finished, nbformat.read(target, as_version=4)


#: As `python -m nbstripout`, without what takes two seconds to import (tests/__init__.py).
NBSTRIPOUT = [
    "-c",
    "import runpy, sys; sys.modules['rfc3987_syntax'] = None; "
    "runpy.run_module('nbstripout', run_name='__main__', alter_sys=True)",
]
Papermill = tuple[subprocess.CompletedProcess[str], nbformat.NotebookNode]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The system at rest after its work: its processes have ended, so that every notebook sees the same."""
    with _lab(new_folder()) as built:
        built.upload(FOUND)
        built.system.start_scheduler()
        built.system.start_workers()
        built.completed, built.buried = built.enqueue(FOUND), built.enqueue(MISSING)
        until(built.are(JobState.COMPLETED, built.completed), what="completed jobs")
        until(built.are(JobState.FAILED, built.buried), what="dead letters")
        until(lambda: _has_all(built), what="the audit trail in SQL")
        built.system.kill("scheduler")
        built.system.kill("workers")
        _keep_workers_alive(built)
        Exporter.from_settings(built.system.settings, built.system.services.database).export(wait_seconds=20)
        yield built


@pytest.fixture(scope="module")
def running_lab(lab: Lab) -> Iterator[Lab]:
    """A copy of the system whose processes run, for tests that change it."""
    folder = new_folder()
    with lab.redis.client() as client:
        client.save()
    shutil.copytree(lab.system.folder, folder, dirs_exist_ok=True)
    with _lab(folder) as built:
        built.completed, built.buried = lab.completed, lab.buried
        built.system.start_scheduler()
        built.system.start_workers()
        yield built


@contextlib.contextmanager
def _lab(folder: Path) -> Iterator[Lab]:
    """A system on this folder; whatever happens, it is ended and removed."""
    with contextlib.ExitStack() as stack:
        stack.callback(remove_folder, folder)
        server = RedisServer(folder, "--appendonly", "no")
        stack.callback(server.stop)
        system = System(folder, server.start(), SECRET_KEY)
        stack.callback(system.close)
        yield Lab(system, server, [], [])


def _has_all(lab: Lab) -> bool:
    from tests.notebooks.counting import count

    return count(lab, "job.completed") == len(FOUND) and count(lab, "dlq.added") == len(MISSING)


def _keep_workers_alive(lab: Lab) -> None:
    """The worker that has ended counts as alive all day: it does not vanish between two notebooks."""
    with lab.redis.client() as client:
        for queue in TOPOLOGY:
            workers = QueueKeys(queue).workers
            for name, at_ms in client.zrange(workers, 0, -1, withscores=True):
                client.zadd(workers, {name: at_ms + _HEARTBEAT_AHEAD_MS})
                client.persist(keys.worker(name))


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    """A system of the test's own, without processes: sara at her machine."""
    made = Settings(redis_url=redis_server.url, data_dir=tmp_path, operator="sara", secret_key=SECRET_KEY)  # type: ignore[arg-type]
    migrate(made.sql_url)
    return made


@pytest.fixture
def bench(settings: Settings) -> Iterator[Workbench]:
    made = Workbench(settings)
    yield made
    made.client.close()
    made.database.dispose()


def recorded(bench: Workbench, action: str) -> list[AuditLog]:
    """What operators did, as AuditLog has it."""
    with bench.database.reading() as session:
        rows = list(session.scalars(select(AuditLog).where(AuditLog.action == action)))
        session.expunge_all()
    return rows
