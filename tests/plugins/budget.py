"""What a run costs, and the budget that it must keep.

Costs are seconds of CPU, which do not grow when the machine is busy with something else: those of the test's own
process, and of every process that it waited for. At the end stands a table by folder and the slowest tests.
"""

from __future__ import annotations

import collections
import os
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import run_postgres, warm_python
from tests.support.scale import scaled

#: `make soak` plays large numbers: it has a time, and no budget.
_IS_SOAK: Final = scaled(1) > 1
#: The whole suite's budget. A run that costs half as much again fails. Where thirty processes wanted two cores, the
#: same tests were measured to take a quarter more seconds of CPU than alone.
SUITE_CPU_SECONDS: Final = 650
#: One test's budget, without what it shares with others (fixtures of modules and runs). One that is over it is measured
#: a second time, alone: what a busy machine did to its caches, or to tests that wait for something, is not its fault.
TEST_CPU_SECONDS: Final = 5.0
#: Set where a test is measured the second time.
_ALONE_VARIABLE: Final = "TEST_MEASURED_ALONE"
#: Tests that must cost more, and why: the beginning of their name from `tests/` on.
LONGER: Final[dict[str, str]] = {
    "model/test_engine_against_model.py": "the longer it plays, the more it finds",
    "notebooks/test_lab_command.py::test_jupyterlab_starts": "its subject is the start of a real JupyterLab",
    "runtime/test_up.py": "starts everything, as a user does; who waits for an end is charged with it",
    "snapshots/test_rebuilds.py::test_a_file_full_of_holes": "DuckDB frees rows by groups of 122,880; it takes two",
    "runtime/test_dramatiq_command.py": "its subject is the start of workers in interpreters of their own",
}

Cost = tuple[str, float, float, float]


class Costs:
    """Notes what each test costs: its name, seconds on the clock, seconds of CPU, and those of its call alone."""

    def __init__(self) -> None:
        self.tests: list[Cost] = []
        self._call_seconds = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        began, spent, self._call_seconds = time.monotonic(), cpu_seconds(), 0.0
        answer = yield
        self.tests.append((item.nodeid, time.monotonic() - began, cpu_seconds() - spent, self._call_seconds))
        return answer

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        spent = cpu_seconds()
        try:
            return (yield)
        finally:
            self._call_seconds = cpu_seconds() - spent

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["costs"] = self.tests


class Budget(Costs):
    """The costs of all, held against the budget, and the table."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._is_whole = not config.args or config.args == config.getini("testpaths")
        self._excess: list[str] = []
        self._file: str | None = config.getoption("costs")
        self._test_cpu_seconds: float = config.getoption("test_cpu_seconds")
        self._total = 0.0

    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {})
        self.tests += [tuple(cost) for cost in output.get("costs", [])]

    # Innermost of the wrappers: after every server has ended, and before the table is printed.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        answer = yield
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        postgres_seconds = run_postgres.spent_cpu_seconds()
        self._total = sum((own.ru_utime, own.ru_stime, children.ru_utime, children.ru_stime, postgres_seconds))
        if self._file:
            rows = sorted(self.tests, key=lambda cost: -cost[2])
            Path(self._file).write_text("".join(f"{cpu:.3f}\t{wall:.3f}\t{name}\n" for name, wall, cpu, _ in rows))
        self._excess = self._find_excess(is_whole=self._is_whole and session.testscollected > 1_000)
        if self._excess and session.exitstatus == 0:
            session.exitstatus = 1
        return answer

    def _find_excess(self, *, is_whole: bool) -> list[str]:
        if _IS_SOAK:
            return []
        limit = self._test_cpu_seconds
        found = [
            f"{name}: {call:.1f} s of CPU; its budget is {limit:g} (tests/plugins/budget.py)"
            for name, _, _, call in self.tests
            if call > limit
            and not name.removeprefix("tests/").startswith(tuple(LONGER))
            and not _fits_alone(name, limit)
        ]
        if is_whole and self._total > 1.5 * SUITE_CPU_SECONDS:
            found.append(f"the suite cost {self._total:.0f} s of CPU; its budget is {SUITE_CPU_SECONDS}, and half more")
        return found

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if len(self.tests) >= 20:
            terminalreporter.section("seconds by folder")
            for line in self._table():
                terminalreporter.line(line)
        for line in self._excess:
            terminalreporter.line(f"over budget: {line}", red=True)

    def _table(self) -> list[str]:
        folders: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0, 0.0])
        for name, seconds, cpu, _ in self.tests:
            row = folders[_folder(name)]
            row[0] += 1
            row[1] += seconds
            row[2] += cpu
        lines = [f"{'':24}{'tests':>7}{'wall':>9}{'CPU':>9}"]
        for folder, (count, seconds, cpu) in sorted(folders.items(), key=lambda pair: -pair[1][2]):
            lines.append(f"{folder:24}{count:7}{seconds:9.1f}{cpu:9.1f}")
        wall = time.monotonic() - self._began
        lines.append(f"{'all, servers included':24}{len(self.tests):7}{wall:9.1f}{self._total:9.1f}")
        lines += ["", f"{'the twenty slowest':80}{'wall':>9}{'CPU':>9}{'its call':>9}"]
        slowest = sorted(self.tests, key=lambda cost: -max(cost[1], cost[2]))[:20]
        return lines + [
            f"{name.removeprefix('tests/')[:79]:80}{wall:9.1f}{cpu:9.1f}{call:9.1f}"
            for name, wall, cpu, call in slowest
        ]


def cpu_seconds() -> float:
    """What this process has spent so far, with all that it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return spent + warm_python.spent_cpu_seconds()


def _fits_alone(test: str, limit: float) -> bool:
    """Whether this test keeps its budget where nothing runs beside it: a run of its own, with its exit code."""
    if _ALONE_VARIABLE in os.environ:
        return False
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", f"--test-cpu-seconds={limit}", test]
    ended = subprocess.run(command, env={**os.environ, _ALONE_VARIABLE: "1"}, capture_output=True, check=False)
    return ended.returncode == 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--costs", metavar="FILE", help="write what each test cost: seconds of CPU, on the clock, name")
    parser.addoption(
        "--test-cpu-seconds", metavar="N", type=float, default=TEST_CPU_SECONDS, help="the budget of one test's call"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs() if hasattr(config, "workerinput") else Budget(config))


def _folder(name: str) -> str:
    parts = name.removeprefix("tests/").partition("::")[0].split("/")
    return parts[0] if len(parts) > 1 else "(top level)"
