"""What a soak says of what it played."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import soak
from tests.support import warm_python
from tests.support.waiting import until

MIXED = """
import pathlib, pytest, time

def test_a():
    assert True

def test_b():
    assert {is_right}

def test_c():
    pathlib.Path("reached").touch()
    while True:
        time.sleep(0.01)
"""


def a_round(**facts: object) -> soak.Round:
    values = {"path": Path("a.py"), "scale": 10, "seed": 1, "seconds": 1.0, "exit_code": 0,
              "outcomes": Counter(passed=2), "output": Path("a.txt"), **facts}  # fmt: skip
    return soak.Round(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_right", [True, False])
def test_results_are_kept_of_a_file_that_is_ended_before_its_end(tmp_path: Path, is_right: bool) -> None:
    (tmp_path / "test_one.py").write_text(MIXED.format(is_right=is_right))
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "--rootdir=.", "test_one.py"]
    with (tmp_path / "output.txt").open("w") as output:
        process = warm_python.Process(command, cwd=tmp_path, stdout=output)
        until((tmp_path / "reached").exists, what="the third test")
        process.send_signal(signal.SIGINT)
        process.wait(45)

    outcomes = soak.outcomes_in(tmp_path / "output.txt")
    assert outcomes == (Counter(passed=2) if is_right else Counter(passed=1, failed=1))
    assert a_round(exit_code=None, outcomes=outcomes).verdict == ("time was up" if is_right else "FAILED")


def test_what_is_not_known_to_have_passed_has_not(tmp_path: Path) -> None:
    assert a_round().verdict == "passed"
    assert a_round(exit_code=1).verdict == "FAILED"
    assert a_round(exit_code=-signal.SIGKILL).verdict == "FAILED"
    (tmp_path / "empty.txt").touch()
    assert a_round(outcomes=soak.outcomes_in(tmp_path / "empty.txt")).verdict == "FAILED"


def test_nothing_is_begun_after_the_deadline(tmp_path: Path) -> None:
    assert soak.play(Path("tests/test_soak.py"), 10, time.monotonic(), tmp_path).verdict == "not begun"
    assert list(tmp_path.iterdir()) == []


def test_a_report_counts_files_and_tests_and_says_how_to_repeat_a_failure(tmp_path: Path) -> None:
    output = tmp_path / "b.txt"
    output.write_text("boom\n")
    broken = a_round(path=Path("b.py"), exit_code=1, outcomes=Counter(failed=1), seed=7, output=output)

    lines = soak.report([a_round(), a_round(exit_code=None, scale=30), broken]).splitlines()

    assert lines[-1] == "files: 1 FAILED, 1 passed, 1 time was up; tests: 1 failed, 4 passed"
    assert "again: TEKNAV_TEST_SCALE=10 pytest -o timeout=0 --randomly-seed=7 b.py" in lines and "boom" in lines


def test_files_that_play_large_numbers_through_a_module_take_part() -> None:
    found = {str(path) for path in soak.files()}

    assert {"tests/properties/test_rest_data.py", "tests/engine/test_invariant.py"} <= found
    assert "tests/test_soak.py" not in found
