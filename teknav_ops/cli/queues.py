"""`teknav queues`: how each queue is doing; pause and resume."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption, QueueArgument
from teknav_ops.metrics.live import QueueStats, read_all_stats
from teknav_ops.redis_state.scripts import QueueCounts
from teknav_ops.topology import TOPOLOGY

app = typer.Typer(help="List the queues, pause and resume them, change their limits.", invoke_without_command=True)

_COLUMNS = ("queue", "state", "wait", "act", "delay", "done", "failed", "dlq", "work", "p95 ms")


@app.callback()
def list_queues(ctx: typer.Context, json_output: JsonOption = False) -> None:
    """Every queue with its counts, read at one instant."""
    if ctx.invoked_subcommand is not None:
        return
    context = Context()
    stats = read_all_stats(context.client, TOPOLOGY)
    rows = [_row(name, counts, stats[name]) for name, counts in context.jobs.all_counts().items()]
    if json_output:
        show.as_json(rows)
        return
    show.table(
        _COLUMNS,
        [
            (
                row["name"], row["state"], row["waiting"], row["active"], row["delayed"], row["completed_total"],
                row["failed_total"], row["dlq"], row["workers"], now.p95_text if (now := stats[row["name"]]) else "–",
            )
            for row in rows
        ],
        empty="No queues in the topology.",
    )  # fmt: skip


def _row(name: str, counts: QueueCounts, stats: QueueStats | None) -> dict[str, Any]:
    queue = TOPOLOGY[name]
    return {
        "name": name,
        "state": "paused" if counts.is_paused else "running",
        **show.plain(counts),
        "concurrency": {"configured": queue.concurrency, "override": counts.concurrency},
        "p95DurationMs": stats and stats.p95_duration_ms,
        "runs": stats and stats.runs,
        "statsAgeMs": stats and stats.age_ms,
        "purpose": queue.purpose,
    }


@app.command()
def pause(queue: QueueArgument) -> None:
    """Hand out no more of a queue's jobs; running ones finish."""
    changed = Context().control.pause(queue)
    show.console.print(f"{queue} is paused" if changed else f"{queue} was paused already")


@app.command()
def resume(queue: QueueArgument) -> None:
    """Hand out a queue's jobs again."""
    changed = Context().control.resume(queue)
    show.console.print(f"{queue} is running" if changed else f"{queue} was not paused")


@app.command()
def configure(
    queue: QueueArgument,
    concurrency: Annotated[int | None, typer.Option(help="Jobs at once per worker process.")] = None,
    global_concurrency: Annotated[int | None, typer.Option(help="Jobs at once over all workers.")] = None,
    rate_count: Annotated[int | None, typer.Option(help="Jobs per period; needs --rate-period-ms.")] = None,
    rate_period_ms: Annotated[int | None, typer.Option(help="Length of the period.")] = None,
) -> None:
    """Change a queue's limits while it runs; 0 puts the topology's value back."""
    changed = Context().control.configure(
        queue, concurrency=concurrency, global_concurrency=global_concurrency,
        rate_count=rate_count, rate_period_ms=rate_period_ms,
    )  # fmt: skip
    show.console.print(f"{queue} is configured" if changed else f"{queue}: nothing to change")
