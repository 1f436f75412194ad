"""Whether a scheduler is at work: who asks is told apart that none runs, and that one is about to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from teknav_ops.metrics.live import read_all_stats
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client

SchedulerState = Literal["publishes", "starting", "missing"]
#: What it means for whoever looks at numbers or alerts; nothing where one is at work.
SCHEDULER_TEXTS: Final[dict[SchedulerState, str]] = {
    "publishes": "",
    "starting": "The scheduler is starting: nothing has been measured yet.",
    "missing": "No scheduler runs: the audit trail is not moved, and nothing is measured or sent. Start `teknav up`.",
}


def read_scheduler(client: Client, queues: Iterable[str]) -> SchedulerState:
    """Whether a scheduler has published lately; else whether one is about to."""
    if any(now is not None and not now.is_stale for now in read_all_stats(client, queues).values()):
        return "publishes"
    is_starting = client.exists(keys.lease("scheduler")) or client.exists(keys.STARTING)
    return "starting" if is_starting else "missing"
