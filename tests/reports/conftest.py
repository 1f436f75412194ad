"""A desk over small notebooks, on a database of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from teknav_ops.reports import runner
from teknav_ops.reports.desk import ReportDesk
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from tests.reports.write_notebooks import write_notebooks
from tests.support import warm_python
from tests.support.databases import migrate


@pytest.fixture(scope="module", autouse=True)
def _warm_processes() -> Iterator[None]:
    """Reports and their kernels are processes of their own that start in milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm_python.EXECUTABLE_VARIABLE, warm_python.executable())
        warm = {"Popen": warm_python.Process, "run": warm_python.run}
        patch.setattr(runner, "subprocess", SimpleNamespace(**{**vars(subprocess), **warm}))
        yield


@pytest.fixture(scope="session")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_notebooks(tmp_path_factory.mktemp("notebooks"))


Set = Callable[..., Settings]


@pytest.fixture
def settings_with(tmp_path: Path, notebooks: Path) -> Set:
    """Settings on a folder of the test's own, with a migrated database in it."""

    def make(**changes: Any) -> Settings:
        settings = Settings(**{"data_dir": tmp_path, "notebooks_dir": notebooks, **changes})
        migrate(settings.sql_url)
        return settings

    return make


@pytest.fixture
def sql(settings_with: Set) -> Iterator[Database]:
    opened = Database.open(settings_with().sql_url)
    yield opened
    opened.dispose()


@pytest.fixture
def desk(settings_with: Set, sql: Database) -> ReportDesk:
    return ReportDesk(settings_with(), sql)
