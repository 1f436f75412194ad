"""Incidents: a window's failures, changes, alerts and operators' actions, for `incident_review`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select

from teknav_ops.errors import InvalidRequest
from teknav_ops.snapshots import questions
from teknav_ops.spans import parse_moment
from teknav_ops.storage.tables import Alert
from teknav_ops.triage.from_snapshot import what_changed
from teknav_ops.triage.incident import Incident

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

#: More failed runs than this are counted by cause, not looked at one by one; the newest are kept.
FAILURE_LIMIT: Final = 100_000
_ALERTS: Final = 500


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
    failures = questions.failures_in_window(bench.snapshot, **window, limit=FAILURE_LIMIT)
    actions = questions.operator_actions(bench.snapshot, **window).sort_values("at", ignore_index=True)
    return Incident(
        since=since, until=until, queues=names, as_of=bench.as_of,
        changed=what_changed(bench.snapshot, since, until, queues=names), failures=failures,
        is_cut=len(failures) == FAILURE_LIMIT, actions=actions,
        moments=_moments(failures, actions, _alerts(bench, since, until, names)),
    )  # fmt: skip


def _moments(
    failures: pandas.DataFrame, actions: pandas.DataFrame, alerts: list[dict[str, Any]]
) -> pandas.DataFrame:  # fmt: skip
    import pandas as pd

    first = failures.sort_values("at").drop_duplicates(["queue", "fingerprint"])
    rows = [
        {
            "at": row["at"],
            "kind": "first failure",
            "queue": row["queue"],
            "what": f"{row['error_type']}: {row['error']}",
        }
        for row in first.to_dict("records")
    ]
    rows += [
        {
            "at": row["at"],
            "kind": "operator",
            "queue": row["queue"],
            "what": f"{row['actor']}: {row['action']} ({row['outcome']})",
        }
        for row in actions.to_dict("records")
    ]
    frame = pd.DataFrame([*rows, *alerts], columns=["at", "kind", "queue", "what"])
    return frame.sort_values("at", ignore_index=True) if len(frame) else frame


def _alerts(bench: Workbench, since: datetime, until: datetime, queues: list[str] | None) -> list[dict[str, Any]]:
    """Alerts that opened or were resolved in the window."""
    touched = select(Alert).where(
        Alert.opened_at < until, or_(Alert.resolved_at.is_(None), Alert.resolved_at >= since)
    )  # fmt: skip
    touched = touched if queues is None else touched.where(Alert.queue.in_(queues))
    with bench.database.reading() as session:
        found = list(session.scalars(touched.order_by(Alert.opened_at.desc()).limit(_ALERTS)))
    rows = []
    for alert in found:
        for at, kind, what in (
            (alert.opened_at, "alert", alert.message), (alert.resolved_at, "resolved", f"{alert.rule} is over"),
        ):  # fmt: skip
            if at is not None and since <= at < until:
                rows.append({"at": at, "kind": kind, "queue": alert.queue, "what": what})
    return rows
