"""Views of the triage models for notebooks, with ipywidgets (extra `lab`).

Each function answers with a widget; without a person in front (`interactive` False) with a sentence.
"""

from __future__ import annotations

import importlib
import weakref
from typing import Any, Final, Protocol

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.view_models.acting import Bench

__all__ = ["dlq_triage", "job_explorer", "queue_monitor", "what_if"]

_NOBODY: Final = "Not shown: this run has no person in front of it. Open the notebook in JupyterLab."
#: The monitor that watches: when its cell runs again, the next one takes over.
_watching: list[weakref.ref[Any]] = []


class Loaded(Protocol):
    """A queue's load, as `workbench.load` answers it."""

    @property
    def scenario_facts(self) -> dict[str, Any]: ...


def dlq_triage(bench: Bench, *, queue: str = "", interactive: bool = True) -> Any:
    """Dead letters, of the queue that has most unless one is named: filter, inspect, preview a list, replay, purge."""
    if not interactive:
        return _NOBODY
    view = _view("dlq_triage", "DlqTriage")
    from teknav_ops.triage.view_models import DlqTriageModel

    return view(DlqTriageModel(bench, queue))


def job_explorer(bench: Bench, *, queue: str = "", search: str = "", interactive: bool = True) -> Any:
    """Jobs: find by id, trace, state or payload; open one with its story; retry, run now, cancel."""
    if not interactive:
        return _NOBODY
    view = _view("job_explorer", "JobExplorer")
    from teknav_ops.triage.view_models import JobExplorerModel

    return view(JobExplorerModel(bench, queue=queue, search=search), bench.topology)


def queue_monitor(bench: Bench, *, queue: str = "", every_seconds: float = 5.0, interactive: bool = True) -> Any:
    """All queues, kept up to date; pause and resume."""
    if not interactive:
        return _NOBODY
    view = _view("queue_monitor", "QueueMonitor")
    from teknav_ops.triage.view_models import QueueMonitorModel

    while _watching:
        former = _watching.pop()()
        if former is not None:
            former.stop()
    model = QueueMonitorModel(bench, selected=queue)
    _watching.append(weakref.ref(model))
    monitor = view(model, bench.topology)
    model.watch(every_seconds)
    return monitor


def what_if(load: Loaded, *, interactive: bool = True) -> Any:
    """Sliders: what if the load, the durations or the threads were others? Estimates."""
    if not interactive:
        return _NOBODY
    view = _view("what_if", "WhatIf")
    from teknav_ops.triage.view_models import WhatIfModel

    return view(WhatIfModel(**load.scenario_facts))


def _view(module: str, name: str) -> Any:
    function = globals()[module]
    try:
        return getattr(importlib.import_module(f"teknav_ops.triage.widgets.{module}"), name)
    except ImportError as error:
        raise InvalidRequest(f"widgets need {error.name}: pip install teknav-ops[lab]") from None
    finally:
        # The module has the function's name, and importing it puts it in its place: a cell that is run again imports.
        globals()[module] = function
