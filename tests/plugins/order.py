"""In which order tests run, and where: by chance, but a file's tests in one process, and the longest folders first.

So what a module shares is made once, and no process is left alone with something long at the end.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

#: Folders whose files take longest; they begin first. Those that wait much stand beside those that compute much.
_LONGEST: Final = ("dashboards", "runtime", "engine", "notebooks", "reports", "workers")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    # Stable: within a folder the order stays that of chance.
    items.sort(key=_place)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed = getattr(config.option, "randomly_seed", None)
    if isinstance(seed, int):
        terminalreporter.line(f"the order of this run again: pytest --randomly-seed={seed}")


def _place(item: pytest.Item) -> int:
    folder = item.nodeid.removeprefix("tests/").partition("/")[0]
    return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)
