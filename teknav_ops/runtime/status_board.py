"""The status board: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any, Final, Self

from redis.exceptions import RedisError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from teknav_ops.errors import RedisUnavailable
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.metrics.live import QueueStats, read_all_stats
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.scripts import QueueCounts

_LINE_SECONDS: Final = 10.0
_HINT: Final = (
    "In another terminal: teknav queues · teknav search redis · teknav dlq groups media:optimize · Ctrl-C stops"
)


class StatusBoard:
    """Shows every queue while the `with` block lasts."""

    def __init__(self, console: Console, jobs: JobQueries, client: Client) -> None:
        self._console = console
        self._jobs = jobs
        self._client = client
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._live:
            self._live.stop()

    def refresh(self) -> None:
        """Read the counts and show them; where that is not possible, why. A board ends nothing."""
        try:
            self._show()
        except (RedisUnavailable, *OUTAGE_ERRORS):  # type: ignore[misc]
            self.say("Redis does not answer; waiting for it")
        except RedisError as error:
            self.say(f"Redis refuses to show the queues: {error}; run `teknav doctor`")

    def _show(self) -> None:
        counts = self._jobs.all_counts()
        if self._live:
            self._live.update(Group(self._table(counts), Text(_HINT, style="dim")), refresh=True)
        else:
            parts = (
                f"{name} {c.completed_total} done, {c.waiting + c.active} to do, {c.dlq} dead"
                for name, c in counts.items()
            )
            self.say("; ".join(parts))

    def say(self, line: str) -> None:
        """One line, at most every ten seconds."""
        if self._live:
            self._live.update(Text(line, style="yellow"), refresh=True)
        elif time.monotonic() - self._said_at >= _LINE_SECONDS:
            self._said_at = time.monotonic()
            self._console.print(line)

    def _table(self, counts: dict[str, QueueCounts]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("queue", "state"):
            table.add_column(name)
        for name in ("waiting", "active", "delayed", "completed", "dead", "workers", "done/min", "fail/min", "p95 ms"):
            table.add_column(name, justify="right")
        published = read_all_stats(self._client, counts)
        for queue, now in counts.items():
            stats = published[queue]
            table.add_row(
                queue,
                Text("paused", style="yellow") if now.is_paused else "running",
                f"{now.waiting:,}",
                f"{now.active:,}",
                f"{now.delayed:,}",
                "–" if now.completed_total is None else f"{now.completed_total:,}",
                Text(f"{now.dlq:,}", style="red" if now.dlq else ""),
                str(now.workers),
                *(["-"] * 3 if stats is None else _live(stats)),
            )
        return table


def _live(stats: QueueStats) -> list[str | Text]:
    """What the last five minutes say of a queue: jobs that were completed, and given up, each minute; p95."""
    failed = Text(f"{stats.failed_rate * 60:.0f}", style="red" if stats.failed_rate else "")
    return [f"{stats.completed_rate * 60:.0f}", failed, stats.p95_text]
