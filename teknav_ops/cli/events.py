"""`teknav events`: what happened, and what happens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import LimitOption
from teknav_ops.events.models import (
    BrokenJob,
    Event,
    PluginExecuted,
    QueueConfigured,
    QueuePaused,
    QueueResumed,
    StatsUpdated,
)
from teknav_ops.events.subscribe import Gap, Subscription, newest_id, read_newest, read_since
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.topology import TOPOLOGY

_HEARTBEAT_SECONDS = 1.0
_GAP = "some events were not kept; what you built on them is out of date"


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    since_id: Annotated[str | None, typer.Option(help="Those after this event (the id is in --json).")] = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue's.")] = None,
    limit: LimitOption = 50,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """The newest events; with --follow, those that come."""
    context = Context()
    queues = None if queue is None else {TOPOLOGY[queue].name}
    if follow:
        _follow(context, since_id, queues, json_lines)
        return
    page = read_newest(context.client, limit) if since_id is None else read_since(context.client, since_id, limit)
    if page.is_gap:
        show.errors.print(_GAP)
    for event in page.events:
        if queues is None or event.queue in queues:
            _print(event, json_lines)


def _follow(context: Context, since_id: str | None, queues: set[str] | None, json_lines: bool) -> None:
    settings = context.settings
    patient = connect(find_redis_url(settings), timeout_seconds=settings.redis_timeout_seconds + _HEARTBEAT_SECONDS)
    begin = newest_id(patient) if since_id is None else since_id
    for event in Subscription(patient, last_id=begin, queues=queues, heartbeat_seconds=_HEARTBEAT_SECONDS):
        if isinstance(event, Gap):
            show.errors.print(_GAP)
        elif event is not None:
            _print(event, json_lines)


def _print(event: Event, json_lines: bool) -> None:
    if json_lines:
        show.write_json(event.model_dump(mode="json", by_alias=True))
        return
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).astimezone()
    line = f"{at:%H:%M:%S}  {event.type:<16}  {event.queue or '':<18}  {_gist(event)}"
    show.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _gist(event: Event) -> str:
    """What a person wants to know of it, in one line."""
    if isinstance(event, StatsUpdated):
        return f"{len(event.queues)} queues"
    if isinstance(event, PluginExecuted):
        return f"{event.plugin} on {event.event}, {event.duration_ms:,.1f} ms"
    if isinstance(event, QueueConfigured):
        return f"by {event.actor}: {event.detail}"
    if isinstance(event, QueuePaused | QueueResumed):
        return f"by {event.actor}"
    if event.count != 1 or len(event.jobs) != 1:
        return f"{event.count:,} jobs"
    job = event.jobs[0]
    if isinstance(job, BrokenJob):
        return f"{job.job} {job.job_id}: {job.error_type} ({job.fingerprint or '-'})"
    return f"{job.job} {job.job_id}" + (f", {job.duration_ms:,.0f} ms" if job.duration_ms is not None else "")
