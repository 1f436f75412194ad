"""In which order tests run, and where: by chance, but what shares something stays in one process, the longest first.

So what a module or a folder shares is made once, and no process is left alone with something long at the end.
"""

from __future__ import annotations

import collections
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Folders whose files take longest; they begin first. Those that wait much stand beside those that compute much.
_LONGEST: Final = ("dashboards", "notebooks", "runtime", "engine", "reports", "workers")
#: Folders whose files share something that takes seconds to make: all of them run in one process.
_SHARING: Final = ("api/guard", "api/rest", "dashboards", "entrances", "notebooks")


class KeepTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Hands the tests of a file to one process, and those of a folder that shares."""

    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> KeepTogether:
    # Its own order would put the units with most tests first, whatever they take.
    config.option.loadscopereorder = False
    return KeepTogether(config, log)


class OneProcess:
    """Fails the run when tests that belong together ran in two processes: what they share was made twice."""

    def __init__(self) -> None:
        self._processes: dict[str, set[str]] = collections.defaultdict(set)

    def pytest_testnodedown(self, node: Any) -> None:
        for name, *_ in getattr(node, "workeroutput", {}).get("costs", []):
            self._processes[_unit(name)].add(node.gateway.id)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._split() and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for unit in self._split():
            where = ", ".join(sorted(self._processes[unit]))
            terminalreporter.line(f"tests/{unit} was to stay in one process, and ran in {where}", red=True)

    def _split(self) -> list[str]:
        return sorted(unit for unit, processes in self._processes.items() if len(processes) > 1)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OneProcess())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Stable: within a folder the order stays that of chance.
    items.sort(key=lambda item: _place(item.nodeid))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed = getattr(config.option, "randomly_seed", None)
    if isinstance(seed, int):
        terminalreporter.line(f"the order of this run again: pytest --randomly-seed={seed}")


def _unit(nodeid: str) -> str:
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return next((folder for folder in _SHARING if path.startswith(f"{folder}/")), path)


def _place(nodeid: str) -> int:
    folder = nodeid.removeprefix("tests/").partition("/")[0]
    return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)
