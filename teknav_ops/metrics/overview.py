"""All queues at one glance: their numbers as of this instant, and what needs a person first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from teknav_ops.errors import CorruptRecord
from teknav_ops.metrics.live import TOUCHED_MINUTES, QueueStats, count_queues, in_window, stats_of
from teknav_ops.metrics.minutes import MINUTE_MS, MinuteCounts, read_many_minutes
from teknav_ops.metrics.scheduler_state import SCHEDULER_TEXTS, SchedulerState
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.topology import Topology

#: A job that has waited for so long says that its queue is behind, and after the second that something is wrong.
_BEHIND_MS: Final = 60_000
_STUCK_MS: Final = 300_000
_AUDIT_LAG_MS: Final = 60_000

Severity = Literal["bad", "warn"]


@dataclasses.dataclass(frozen=True, slots=True)
class Attention:
    """One thing that a person should look at; `queue` is None where it concerns all."""

    severity: Severity
    kind: Literal["no-workers", "stuck", "behind", "dead-letters", "paused", "audit-lag", "no-scheduler"]
    queue: str | None
    text: str


def read_now(client: Client, topology: Topology) -> dict[str, QueueStats]:
    """Every queue's numbers as of now, whether or not a scheduler publishes; two round trips. A queue whose structures
    are damaged is left out: it must not hide the others.
    """
    return {name: stats for name, (_, stats) in _read(client, topology).items()}


def read_queues_now(client: Client, queues: Iterable[str]) -> dict[str, tuple[QueueCounts, QueueStats]]:
    """Some queues' counts, with what was changed while they run, and the numbers made of them; two round trips.

    Raises:
        CorruptRecord: the structures of one of them are damaged.
    """
    names = list(queues)
    found = _read(client, names)
    for name in names:
        if name not in found:
            raise CorruptRecord(f"queue: what Redis holds of {name} is damaged; the log says which key")
    return found


def _read(client: Client, queues: Iterable[str]) -> dict[str, tuple[QueueCounts, QueueStats]]:
    counts = count_queues(ScriptRunner(client), queues)
    minutes = read_many_minutes(client, {name: _window(now.at_ms, TOUCHED_MINUTES) for name, now in counts.items()})
    return {
        name: (now, stats_of(name, now, in_window(minutes[name], now.at_ms), term=0, publisher=""))
        for name, now in counts.items()
    }


def read_last_hour(client: Client, queues: Iterable[str], at_ms: int) -> dict[str, list[MinuteCounts]]:
    """What happened to each queue in each of the last sixty minutes in which something did."""
    return read_many_minutes(client, {name: _window(at_ms, 60) for name in queues})


def attention(stats: Mapping[str, QueueStats], *, scheduler: SchedulerState) -> list[Attention]:
    """What to look at, the worst first."""
    found = [about for now in stats.values() for about in _about(now)]
    found += _dead_letters(stats)
    if text := SCHEDULER_TEXTS[scheduler]:
        found.append(Attention("bad" if scheduler == "missing" else "warn", "no-scheduler", None, text))
    return sorted(found, key=lambda about: (about.severity != "bad", about.queue or ""))


def _about(now: QueueStats) -> list[Attention]:
    found = []
    waited_ms = now.oldest_waiting_age_ms
    # What fell due waits, though nobody has fetched since.
    waits = now.waiting > 0 or (waited_ms is not None and not now.is_paused)
    if waits and not now.workers:
        what = f"{now.waiting:,} jobs wait" if now.waiting else "jobs that fell due wait"
        found.append(Attention("bad", "no-workers", now.queue, f"{what} and no worker takes them"))
    elif not now.is_paused and waited_ms is not None and waited_ms > _BEHIND_MS:
        severity: Severity = "bad" if waited_ms > _STUCK_MS else "warn"
        text = f"the oldest job has waited for {_span(waited_ms)}; {now.waiting:,} are waiting"
        if not now.waiting:
            text = f"the oldest job fell due {_span(waited_ms)} ago"
        found.append(Attention(severity, "stuck" if severity == "bad" else "behind", now.queue, text))
    if now.is_paused:
        found.append(Attention("warn", "paused", now.queue, f"is paused; {now.paused:,} jobs wait"))
    if now.audit_lag_ms > _AUDIT_LAG_MS:
        text = f"AuditLog is {_span(now.audit_lag_ms)} behind; {now.audit_backlog:,} entries are held in Redis"
        found.append(Attention("warn", "audit-lag", now.queue, text))
    return found


def _dead_letters(stats: Mapping[str, QueueStats]) -> list[Attention]:
    """One line, however many queues: they wait for the same person."""
    holding = sorted((now for now in stats.values() if now.dlq), key=lambda now: -now.dlq)
    total = sum(now.dlq for now in holding)
    letters = "dead letter waits" if total == 1 else "dead letters wait"
    if len(holding) == 1:
        return [Attention("warn", "dead-letters", holding[0].queue, f"{total:,} {letters} to be decided")]
    if holding:
        most = ", ".join(f"{now.queue} {now.dlq:,}" for now in holding[:3])
        rest = " …" if len(holding) > 3 else ""
        text = f"{total:,} {letters} to be decided on {len(holding)} queues: {most}{rest}"
        return [Attention("warn", "dead-letters", None, text)]
    return []


def _span(ms: float) -> str:
    minutes = int(ms // 60_000)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _window(at_ms: int, minutes: int) -> range:
    last = at_ms // MINUTE_MS
    return range(last - minutes + 1, last + 1)
