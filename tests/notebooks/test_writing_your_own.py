"""The five minutes of docs/notebooks/writing-your-own.md, taken by its own commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.conftest import FOUND, MAIN, NBSTRIPOUT, NOTEBOOKS, Lab
from tests.support import warm_python
from tests.support.system import TREE

pytestmark = pytest.mark.timeout(240)


def test_from_the_template_to_a_report(lab: Lab, tmp_path: Path) -> None:
    guide = (TREE / "docs" / "notebooks" / "writing-your-own.md").read_text()
    commands = re.findall(r"^   (cp|nbstripout|teknav report run) (.+)$", guide, re.M)
    assert [command for command, _ in commands] == ["cp", "nbstripout", "teknav report run"]
    shutil.copytree(NOTEBOOKS, tmp_path / "ops_notebooks")
    environment = lab.environment | {
        "TEKNAV_NOTEBOOKS_DIR": "ops_notebooks", "TEKNAV_REPORT_DIR": "reports", "BROWSER": "true",
    }  # fmt: skip
    # What is ours is forked from the warm process; nbstripout takes its standard output apart.
    programs = {
        "nbstripout": (subprocess.run, NBSTRIPOUT),
        "teknav report run": (warm_python.run, ["-c", MAIN, "report", "run"]),
    }

    def run(command: str, rest: str) -> str:
        if command == "cp":
            shutil.copy(*(tmp_path / name for name in rest.split()))
            return ""
        run_program, program = programs[command]
        done = run_program(
            [sys.executable, *program, *shlex.split(rest)], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    run(*commands[0])
    made = tmp_path / "ops_notebooks" / "slow_mail.ipynb"
    notebook = nbformat.read(made, as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace(
        "Which question does this notebook answer?", "Is it well?"
    )
    nbformat.write(notebook, made)
    run(*commands[1])
    said = run(*commands[2])

    assert "slow_mail (Is it well?)" in said and f"completed: {len(FOUND)} jobs" in said
    assert list((tmp_path / "reports" / "slow_mail").glob("*/report.html"))
