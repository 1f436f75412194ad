"""A test that costs too much fails the run, unless it costs less when nothing runs beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import warm_python

ROOT = Path(__file__).parents[2]
BURNS = """
import pathlib, time

def burn(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass

def test_always():
    burn(0.3)

def test_once():
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        burn(0.3)
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text(BURNS)
    return warm_python.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "--rootdir=.", "--test-cpu-seconds=0.2", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_PLUGINS": "tests.plugins.budget"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_test_over_its_budget_fails_the_run_by_name(tmp_path: Path) -> None:
    ended = run(tmp_path, "-k", "always")

    assert ended.returncode == 1 and "1 passed" in ended.stdout
    assert "over budget: test_one.py::test_always: " in ended.stdout and "its budget is 0.2" in ended.stdout


def test_what_is_over_it_beside_others_only_is_not(tmp_path: Path) -> None:
    ended = run(tmp_path, "-k", "once")

    assert ended.returncode == 0 and "1 passed" in ended.stdout and "over budget" not in ended.stdout
