"""Questions about failures: which errors, which causes, what became of the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from teknav_ops.snapshots.open import Snapshot
from teknav_ops.snapshots.questions.asking import ask, at_most, bucket, named, window

if TYPE_CHECKING:
    import pandas

_HOUR: Final = timedelta(hours=1)
Queues = str | Sequence[str] | None


def error_types_over_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _HOUR,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per time bucket, queue and error type: failed runs (`n`), of which jobs given up and retried."""
    return ask(snapshot, "error_types_over_time", **named(queues), **window(since, until), **bucket(width))


def fingerprints_over_time(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _HOUR,
    since: datetime | None = None, until: datetime | None = None, top: int = 50,
) -> pandas.DataFrame:  # fmt: skip
    """Per time bucket and cause, for the `top` causes of the window. When a cause was first and last seen, and its
    newest message, are of all that the snapshot holds.
    """
    parameters = {**named(queues), **window(since, until), **bucket(width), **at_most(top, name="top")}
    return ask(snapshot, "fingerprints_over_time", **parameters)


def dlq_flow(
    snapshot: Snapshot, *, queues: Queues = None, width: timedelta = _HOUR,
    since: datetime | None = None, until: datetime | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Per time bucket and queue: dead letters that came (`inflow`), were replayed or deleted (`outflow`), and `net`."""
    return ask(snapshot, "dlq_flow", **named(queues), **window(since, until), **bucket(width))


def retries_per_success(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """Per queue and job name: retries for each job that completed; null where none did."""
    return ask(snapshot, "retries_per_success", **named(queues), **window(since, until))


def failures_in_window(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None,
    fingerprints: Sequence[str] | None = None, limit: int = 1_000,
) -> pandas.DataFrame:  # fmt: skip
    """Failed runs, of some causes or of all, newest first, with the beginning of their message and their trace."""
    parameters = {**named(queues), **window(since, until), **at_most(limit)}
    wanted = None if fingerprints is None else list(fingerprints)
    return ask(snapshot, "failures_in_window", fingerprints=wanted, **parameters)


def failure_causes(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None,
    limit: int = 100,
) -> pandas.DataFrame:  # fmt: skip
    """Per cause: failed runs (`n`), of which jobs given up, jobs, first and last seen in the window, the newest message
    (`example`), and the run that it began with. The most frequent causes first.
    """
    return ask(snapshot, "failure_causes", **named(queues), **window(since, until), **at_most(limit))


def failure_reach(
    snapshot: Snapshot, *, queues: Queues = None, since: datetime | None = None, until: datetime | None = None
) -> pandas.DataFrame:
    """The whole window as one row: failed runs, jobs given up, retries, and different jobs, traces, causes and queues.
    No row where no run failed.
    """
    return ask(snapshot, "failure_reach", **named(queues), **window(since, until))
