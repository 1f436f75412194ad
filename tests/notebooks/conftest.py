"""A small system that has done true work: jobs completed, jobs given up, a snapshot published."""

from __future__ import annotations

import dataclasses
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
from teknav_ops.settings import Settings
from teknav_ops.snapshots.export import Exporter
from teknav_ops.storage.tables import AuditLog, File
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


@dataclasses.dataclass
class Lab:
    """The system, and how programs reach it."""

    system: System
    redis: RedisServer
    completed: list[str]
    buried: list[str]

    @property
    def environment(self) -> dict[str, str]:
        """What `teknav lab` would give to Jupyter."""
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("TEKNAV_", "JUPYTER"))}
        return quiet | {
            "TEKNAV_REDIS_URL": self.redis.url, "TEKNAV_DATA_DIR": str(self.system.folder),
            "TEKNAV_SECRET_KEY": SECRET_KEY, "TEKNAV_OPERATOR": "sara", "PYTHONPATH": str(TREE),
            "JUPYTER_PREFER_ENV_PATH": "1", "PLOTLY_RENDERER": "plotly_mimetype",
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

    def publish(self) -> None:
        """A snapshot of all that is in SQL."""
        database = self.system.services.database
        Exporter.from_settings(self.system.settings, database).export(wait_seconds=20)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    system = System(folder, server, SECRET_KEY)
    built = Lab(system, server, [], [])
    built.upload(FOUND)
    system.start_scheduler()
    system.start_workers()
    built.completed, built.buried = built.enqueue(FOUND), built.enqueue(MISSING)
    until(built.are(JobState.COMPLETED, built.completed), seconds=90, what="completed jobs")
    until(built.are(JobState.FAILED, built.buried), seconds=90, what="dead letters")
    until(lambda: _has_all(built), seconds=60, what="the audit trail in SQL")
    built.publish()
    yield built
    system.close()
    server.stop()
    remove_folder(folder)


def _has_all(lab: Lab) -> bool:
    from tests.notebooks.counting import count

    return count(lab, "job.completed") == len(FOUND) and count(lab, "dlq.added") == len(MISSING)


Run = Callable[..., nbformat.NotebookNode]


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Run:
    """Run a notebook with papermill's own command line; answers its output."""

    def execute(name: str, **parameters: Any) -> nbformat.NotebookNode:
        finished, output = papermill(lab, name, tmp_path, **parameters)
        assert finished.returncode == 0, finished.stderr[-4000:]
        return output

    return execute


def papermill(
    lab: Lab, name: str, folder: Path, environment: dict[str, str] | None = None, **parameters: Any
) -> tuple[subprocess.CompletedProcess[str], nbformat.NotebookNode]:
    source = name if name.endswith(".ipynb") else str(NOTEBOOKS / f"{name}.ipynb")
    target = folder / "output.ipynb"
    given = [word for key, value in parameters.items() for word in ("-p", key, str(value))]
    finished = warm_python.run(
        [sys.executable, "-m", "papermill", source, str(target), "-k", "python3", "--no-progress-bar", *given],
        env=lab.environment | (environment or {}), cwd=TREE, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return finished, nbformat.read(target, as_version=4)


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
