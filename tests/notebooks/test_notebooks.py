"""Notebooks are thin, run by papermill's own command line too, and say what SQL and Redis say."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from teknav_ops.jobs.sketch import FEW_RUNS
from tests.notebooks.conftest import FOUND, MISSING, NBSTRIPOUT, NOTEBOOKS, PARAMETERS, QUEUE, Lab
from tests.notebooks.counting import charts, count, durations, said
from tests.support.scale import scaled
from tests.support.system import TREE
from tests.support.waiting import ANSWER_SECONDS

pytestmark = pytest.mark.timeout(240)
SOURCES = sorted(NOTEBOOKS.glob("*.ipynb"))
_NOT_THIN = (
    ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.Lambda, ast.ListComp, ast.DictComp,
    ast.SetComp, ast.GeneratorExp,
)  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_thin_stripped_and_says_whose_it_is(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, second, last = notebook.cells[0], notebook.cells[1], notebook.cells[-1]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert first.cell_type == "markdown" and first.source.splitlines()[0].endswith("?")
    assert all(word in first.source for word in ("**Owner**", "**Reads**", "**Writes**"))
    assert second.metadata.tags == ["parameters"] and last.metadata.tags == ["limits"]
    for line in ast.parse(second.source).body:
        assert isinstance(line, ast.AnnAssign) and isinstance(line.value, ast.Constant), f"untyped: {ast.unparse(line)}"
    wordy = [node for cell in code for node in ast.walk(ast.parse(cell.source)) if isinstance(node, _NOT_THIN)]
    assert not wordy, f"{path.name}: belongs into the library: {ast.unparse(wordy[0])}"
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_notebooks_are_stripped_as_nbstripout_would() -> None:
    checked = subprocess.run(
        [sys.executable, *NBSTRIPOUT, "--verify", *map(str, SOURCES)], cwd=TREE, capture_output=True, text=True,
        timeout=ANSWER_SECONDS, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_queue_health_says_what_sql_and_redis_say(lab: Lab) -> None:
    output = lab.report("queue_health").notebook

    words = said(output)
    retried = count(lab, "job.retried")
    share = (len(MISSING) + retried) / (len(FOUND) + len(MISSING) + retried)
    assert f"{len(FOUND)} jobs were completed and {len(MISSING)} given up" in words
    assert f"{share:.1%} of runs ended in an error" in words and "Durations are of those that completed" in words
    assert f"{len(MISSING)} dead letters" in words and words.count("as of ") >= 2
    drawn = charts(output)
    assert set(drawn) == {
        "Jobs in each queue", "Completed jobs per second", "p95 of completed runs", "Runs that ended in an error",
    }  # fmt: skip
    assert all("as of " in chart["layout"]["title"]["subtitle"]["text"] for chart in drawn.values())
    errors = drawn["Runs that ended in an error"]["data"]
    assert [trace["name"] for trace in errors] == ["UnknownFile"]


def test_a_breached_limit_ends_the_notebook_and_is_named(lab: Lab, tmp_path: Path) -> None:
    finished, _ = lab.papermill("dlq_triage", tmp_path, interactive=False, dead_letter_limit=len(MISSING) - 1)

    assert finished.returncode == 1
    assert f"LimitBreached: dead letters: {len(MISSING)} is more than {len(MISSING) - 1}" in finished.stderr


def test_p95_durations_are_those_of_sql(lab: Lab) -> None:
    output = lab.report("p95_durations").notebook

    known = durations(lab, "job.completed")
    p95 = known[-(-95 * len(known) // 100) - 1]
    (table,) = [cell.outputs[-1].data["text/plain"] for cell in output.cells if "avg_ms" in cell.source]
    row = next(line for line in table.splitlines() if "optimize-image" in line).split()
    assert float(row[2]) == pytest.approx(len(MISSING) / (len(FOUND) + len(MISSING)), abs=0.001)
    assert (int(row[3]), len(known)) == (len(FOUND), len(FOUND))
    assert float(row[5]) == pytest.approx(p95, rel=0.001)
    assert "too few" in said(output)


def test_slo_report_says_of_how_many_completed_runs_its_p95_is(lab: Lab) -> None:
    output = lab.report("slo_report").notebook

    (table,) = [cell.outputs[-1].data["text/plain"] for cell in output.cells if "objectives_kept" in cell.source]
    head, *rows = table.splitlines()
    assert head.split()[7:11] == ["p95_ms", "n", "p95_target_ms", "runs"]
    row = next(row for row in rows if QUEUE in row)
    assert re.search(rf" of {len(FOUND)} +{len(FOUND)} ", row) and len(FOUND) < FEW_RUNS


def test_dlq_triage_lists_causes_and_in_a_report_shows_no_widget(lab: Lab) -> None:
    output = lab.report("dlq_triage").notebook

    words = said(output)
    assert f"**{len(MISSING)} dead letters** with 1 causes on 1 queues" in words
    assert f"{len(MISSING)} came and 0 left" in words
    assert "the same variants are made" in words
    assert "application/vnd.jupyter.widget-view+json" not in json.dumps(output)
    bars = charts(output)["Dead letters by cause"]["data"][0]
    assert bars["y"][0].startswith(f"{QUEUE} · UnknownFile")


def test_without_redis_or_a_snapshot_a_notebook_says_what_to_do(lab: Lab, tmp_path: Path) -> None:
    finished, _ = lab.papermill("queue_health", tmp_path, {"TEKNAV_REDIS_URL": "redis://127.0.0.1:1/0"})
    assert finished.returncode == 1 and "Start the system with `teknav up`" in finished.stderr

    finished, _ = lab.papermill("p95_durations", tmp_path, {"TEKNAV_SNAPSHOT_DIR": str(tmp_path)})
    assert finished.returncode == 1 and "run `teknav audit snapshot`" in finished.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in SOURCES if scaled(1) > 1 or path.stem == "template"))
def test_papermills_own_command_line_runs_a_notebook(lab: Lab, tmp_path: Path, name: str) -> None:
    """All of them in `make soak`: as reports they are run by papermill as well."""
    tagged = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"][1]["source"]
    unattended = {"interactive": False} if "interactive" in "".join(tagged) else {}

    finished, output = lab.papermill(name, tmp_path, **PARAMETERS.get(name, {}), **unattended)

    assert finished.returncode == 0, finished.stderr[-3_000:]
    assert "as of " in json.dumps(output, ensure_ascii=False)
    assert "application/vnd.jupyter.widget-view+json" not in json.dumps(output)
