"""Telling what is in no audit stream: that stats were written, that a plugin ran."""

from __future__ import annotations

from collections.abc import Iterable

from teknav_ops.events.models import Event, StatsUpdated, to_json
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner


def publish(client: Client, event: Event, *, kept: int) -> str:
    """Tell an event on stream and channel; answers its id. About `kept` events stay in the stream.

    Events of transitions are the relay's to tell, from the audit trail.
    """
    call = scripts.relay_events("", from_id="", to_id="", kept=kept, events=[to_json(event)])
    return ScriptRunner(client).run(call).ids[0]


def publish_stats_updated(client: Client, queues: Iterable[str], *, at_ms: int, kept: int) -> str:
    """Tell that the live stats of these queues were written anew (at `at_ms` since the epoch)."""
    return publish(client, StatsUpdated(at_ms=at_ms, queues=tuple(queues)), kept=kept)
