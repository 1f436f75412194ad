"""`teknav enqueue`: a job, by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption, QueueArgument, parse_data, parse_span


def enqueue(
    queue: QueueArgument,
    job: Annotated[str, typer.Argument(help="Name of the job, such as optimize-image.")],
    data: Annotated[str, typer.Option(help="The payload: JSON, or @file.")],
    key: Annotated[str | None, typer.Option(help="Idempotency key: one job per key within 24 h.")] = None,
    delay: Annotated[str | None, typer.Option(help="Run it later: 30s, 5m, 2h, 1d.")] = None,
    priority: Annotated[int, typer.Option(help="-9 (first) to 9 (last).")] = 0,
    trace: Annotated[str | None, typer.Option(help="W3C trace id to carry.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Enqueue a job."""
    accepted = Context().producer.enqueue(
        queue, job, parse_data(data), idempotency_key=key, priority=priority, trace_id=trace,
        delay=None if delay is None else parse_span(delay, name="--delay"),
    )  # fmt: skip
    if json_output:
        show.as_json(accepted)
    else:
        show.console.print(
            accepted.job_id if accepted.is_new else f"{accepted.job_id} (the key's first job; no new one)"
        )
