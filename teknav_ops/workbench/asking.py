"""The questions of a snapshot as methods of a workbench: same names, same parameters, without the snapshot."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec

from teknav_ops.snapshots import questions
from teknav_ops.snapshots.open import Snapshot

if TYPE_CHECKING:
    import pandas

_Asked = ParamSpec("_Asked")


class _Question(Generic[_Asked]):
    """A question, bound to the newest snapshot when it is asked."""

    def __init__(self, function: Callable[Concatenate[Snapshot, _Asked], pandas.DataFrame]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, bench: Questions, _: type[Questions]) -> Callable[_Asked, pandas.DataFrame]:
        @functools.wraps(self._function)
        def asked(*args: _Asked.args, **kwargs: _Asked.kwargs) -> pandas.DataFrame:
            return self._function(bench.snapshot, *args, **kwargs)

        return asked


class Questions(abc.ABC):
    """Everything that `teknav_ops.snapshots.questions` answers."""

    @property
    @abc.abstractmethod
    def snapshot(self) -> Snapshot:
        """The snapshot that is asked."""

    ai_costs = _Question(questions.ai_costs)
    dlq_flow = _Question(questions.dlq_flow)
    duration_sketch = _Question(questions.duration_sketch)
    error_types_over_time = _Question(questions.error_types_over_time)
    failure_causes = _Question(questions.failure_causes)
    failure_reach = _Question(questions.failure_reach)
    failures_in_window = _Question(questions.failures_in_window)
    fingerprints_over_time = _Question(questions.fingerprints_over_time)
    first_ends = _Question(questions.first_ends)
    job_outcomes = _Question(questions.job_outcomes)
    operator_actions = _Question(questions.operator_actions)
    p95_by_time = _Question(questions.p95_by_time)
    queue_metrics = _Question(questions.queue_metrics)
    retries_per_success = _Question(questions.retries_per_success)
    run_counts = _Question(questions.run_counts)
    run_durations = _Question(questions.run_durations)
    run_summary = _Question(questions.run_summary)
    slowest_jobs = _Question(questions.slowest_jobs)
    totals = _Question(questions.totals)
    waiting_time = _Question(questions.waiting_time)
