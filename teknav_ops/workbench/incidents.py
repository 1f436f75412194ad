"""Incidents: a window's failures, changes, alerts and operators' actions, for `incident_review`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.alerts.queries import AlertQueries, ListedAlert
from teknav_ops.errors import InvalidRequest
from teknav_ops.snapshots import questions
from teknav_ops.spans import parse_moment
from teknav_ops.triage.from_snapshot import what_changed
from teknav_ops.triage.incident import Incident, Reach

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

#: Rare ones too: the first failure of an incident may be one of a kind.
_CAUSE_LIMIT: Final = 2_000


def window_of(bench: Workbench, *, start: str, end: str, hours: float) -> dict[str, datetime]:
    """`since` and `until` from ISO texts (with a zone, else this machine's) or spans ago; without, the last hours.

    Raises:
        InvalidRequest: names what is wrong and how to write it.
    """
    last = bench.last(hours=hours)
    until = parse_moment(end.strip() or None, name="end") or last["until"]
    since = parse_moment(start.strip() or None, name="start") or until - timedelta(hours=hours)
    if since >= until:
        raise InvalidRequest(f"start: {since:%Y-%m-%d %H:%M} UTC is not before the end, {until:%Y-%m-%d %H:%M} UTC")
    return {"since": since, "until": until}


def review(bench: Workbench, *, since: datetime, until: datetime, queues: str = "") -> Incident:
    """What happened between `since` and `until` on the named queues (separated by commas), or on all.

    Raises:
        UnknownQueue: one of them is none. NoSnapshot, StorageUnavailable: with what to do.
    """
    names = [bench.topology[name.strip()].name for name in queues.split(",") if name.strip()] or None
    window: dict[str, Any] = {"queues": names, "since": since, "until": until}
    causes = questions.failure_causes(bench.snapshot, **window, limit=_CAUSE_LIMIT)
    changed = what_changed(bench.snapshot, since, until, queues=names)
    alerts = AlertQueries(bench.database).in_window(since, until, queues=names)
    told = [moment for alert in alerts for moment in _of_alert(alert) if since <= moment["at"] < until]
    return Incident(
        since=since, until=until, queues=names, as_of=bench.as_of, changed=changed, causes=causes,
        reach=_reach(questions.failure_reach(bench.snapshot, **window)),
        moments=_moments(causes, changed.operator_actions, told),
    )  # fmt: skip


def _reach(frame: pandas.DataFrame) -> Reach:
    if frame.empty:
        return Reach(0, 0, 0, 0, (), 0, 0)
    row = frame.iloc[0]
    return Reach(
        failed_run_count=int(row["failed_runs"]), given_up_count=int(row["given_up"]),
        retried_count=int(row["retried"]), job_count=int(row["jobs"]), queues=[str(name) for name in row["queues"]],
        cause_count=int(row["causes"]), trace_count=int(row["traces"]),
    )  # fmt: skip


def _moments(
    causes: pandas.DataFrame, actions: Sequence[Mapping[str, Any]], alerts: list[dict[str, Any]]
) -> pandas.DataFrame:  # fmt: skip
    import pandas as pd

    rows = [
        {"at": row["first_at"], "kind": "first failure", "queue": row["queue"],
         "what": f"{row['error_type']}: {row['first_error']}"}
        for row in causes.to_dict("records")
    ]  # fmt: skip
    rows += [
        {"at": row["at"], "kind": "operator", "queue": row["queue"],
         "what": f"{row['actor']}: {row['action']} ({row['outcome']})"}
        for row in actions
    ]  # fmt: skip
    frame = pd.DataFrame([*rows, *alerts], columns=["at", "kind", "queue", "what"])
    return frame.sort_values("at", ignore_index=True) if len(frame) else frame


def _of_alert(alert: ListedAlert) -> Iterator[dict[str, Any]]:
    """The moments at which it opened and was over."""
    yield {"at": alert.opened_at, "kind": "alert", "queue": alert.queue, "what": alert.message}
    if alert.resolved_at:
        yield {"at": alert.resolved_at, "kind": "resolved", "queue": alert.queue, "what": f"{alert.rule} is over"}
