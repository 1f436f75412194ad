"""`teknav stats`: the published numbers of every queue, once or live."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.text import Text

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption
from teknav_ops.cli.stats_table import Reading, draw
from teknav_ops.metrics.live import read_all_stats
from teknav_ops.metrics.minutes import MINUTE_MS
from teknav_ops.metrics.recent_minutes import RecentMinutes
from teknav_ops.metrics.scheduler_state import read_scheduler
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.topology import TOPOLOGY

_REFRESH_SECONDS: Final = 1.0
_HOUR_MINUTES: Final = 60

QueueOption = Annotated[list[str] | None, typer.Option("--queue", help="Only this queue; may be given again.")]


def stats(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    queue: QueueOption = None,
    json_output: JsonOption = False,
) -> None:
    """Every queue's live numbers as published, what needs attention first; --watch keeps them up to date."""
    reader = Reader(Context().client, [TOPOLOGY[name].name for name in queue or TOPOLOGY])
    if watch:
        _watch(reader, json_output)
    elif json_output:
        show.as_json(as_json(reader.read()))
    else:
        show.console.print(_drawn(reader.read()))


class Reader:
    """Reads stats and the last hour, again and again."""

    def __init__(self, client: Client, queues: Sequence[str]) -> None:
        self._client = client
        self._queues = queues
        self._minutes = RecentMinutes(client, minutes=_HOUR_MINUTES)

    def read(self) -> Reading:
        """As of now. Raises redis-py's errors."""
        published = read_all_stats(self._client, self._queues)
        # Now, by the server's clock; it is not known while nobody publishes, and then the hour is about right.
        moments = [now.last_updated_at_ms + now.age_ms for now in published.values() if now is not None]
        now = max(moments, default=round(time.time() * 1000))
        last = now // MINUTE_MS
        hour = range(last - _HOUR_MINUTES + 1, last + 1)
        rows = self._minutes.read(dict.fromkeys(self._queues, now))
        is_starting = read_scheduler(self._client, self._queues) == "starting"
        ended, failed = (
            {queue: [counts[queue].get(past, 0) for past in hour] for queue in self._queues}
            for counts in (
                {queue: {row.minute: row.finished for row in rows[queue]} for queue in self._queues},
                {queue: {row.minute: row.failed for row in rows[queue]} for queue in self._queues},
            )
        )
        return Reading(published, ended, failed, is_starting)


def as_json(reading: Reading) -> dict[str, Any]:
    """A reading for scripts."""
    notes = reading.attention()
    return {
        "asOf": reading.as_of,
        "isStale": reading.is_stale,
        "attention": notes,
        "queues": [
            {
                "queue": queue,
                "stats": reading.stats[queue],
                "endedPerMinute": reading.last_hour[queue],
                "failedPerMinute": reading.failed[queue],
            }
            for queue in reading.in_order()
        ],
    }


def _drawn(reading: Reading) -> Any:
    has_blocks = show.console.encoding.lower().startswith("utf")
    return draw(reading, width=show.console.width, has_blocks=has_blocks)


def _watch(reader: Reader, json_output: bool) -> None:
    # Told to end, it leaves the terminal as it found it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if json_output or not show.console.is_terminal:
            _print_each(reader, json_output)
        else:
            _live(reader)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Whoever read has enough; nothing may be flushed into the closed pipe at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _live(reader: Reader) -> None:
    with Live(console=show.console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for reading in _readings(reader):
            shown = Text(reading, style="yellow") if isinstance(reading, str) else _drawn(reading)
            live.update(shown, refresh=True)


def _print_each(reader: Reader, json_output: bool) -> None:
    """Each publication once: a line of JSON, or a table."""
    told: Any = ()
    for reading in _readings(reader):
        if isinstance(reading, str):
            show.errors.print(reading, markup=False, highlight=False, soft_wrap=True)
            continue
        if (reading.as_of, reading.is_stale) == told:
            continue
        told = (reading.as_of, reading.is_stale)
        if json_output:
            show.write_json(show.plain(as_json(reading)))
        else:
            show.console.print(_drawn(reading))


def _readings(reader: Reader) -> Iterator[Reading | str]:
    """A reading per second; while Redis is away, what is wrong."""
    while True:
        try:
            yield reader.read()
        except OUTAGE_ERRORS as error:
            yield f"Redis does not answer ({error}); trying again"
        time.sleep(_REFRESH_SECONDS)
