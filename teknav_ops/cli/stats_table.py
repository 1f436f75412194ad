"""The stats as a table for a terminal: what needs a person first, the last hour as a sparkline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from teknav_ops.jobs.sketch import of_few
from teknav_ops.metrics.live import QueueStats
from teknav_ops.metrics.overview import Attention, attention
from teknav_ops.metrics.scheduler_state import SchedulerState

#: What to do when nobody publishes.
START_A_SCHEDULER: Final = "start one with `teknav up`, or `python -m teknav_ops.runtime.scheduler`"
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
#: Sparklines of so many columns divide an hour evenly.
_SPARK_WIDTHS: Final = (60, 30, 20, 12)
#: Which columns go, one after another, where there is no room for all.
_LEAST_NEEDED: Final = ("workers", "delayed", "active", "oldest", "state", "p95", "done/min")
#: So many of them go for the sparkline, too.
_FOR_THE_LAST_HOUR: Final = 3
#: More queues with the same trouble share a line.
_TOLD_EACH: Final = 3
_STYLES: Final = {"bad": "bold red", "warn": "yellow"}
_STATE_STYLES: Final = {"stale": "red", "paused": "yellow", "running": "green"}
#: The columns beside queue and state. Those that are given up in a minute stand apart from those that are completed.
_NUMBERS: Final = ("wait", "active", "delayed", "workers", "dlq", "done/min", "fail/min", "p95", "oldest")


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one moment. `stats` is None for a queue of which nothing is published; `last_hour` holds the
    jobs that ended in each of sixty minutes, the current one last, and `failed` those of them that were given up."""

    stats: Mapping[str, QueueStats | None]
    last_hour: Mapping[str, Sequence[int]]
    failed: Mapping[str, Sequence[int]]
    #: Whether a scheduler is about to publish, where none has lately.
    is_starting: bool = False

    @property
    def newest(self) -> QueueStats | None:
        """What was published last."""
        found = (stats for stats in self.stats.values() if stats is not None)
        return min(found, key=lambda stats: abs(stats.age_ms), default=None)

    @property
    def is_stale(self) -> bool:
        """Whether nobody has published lately."""
        return self.newest is None or self.newest.is_stale

    @property
    def as_of(self) -> datetime | None:
        """When the newest counts were taken, by the server's clock."""
        return None if self.newest is None else datetime.fromtimestamp(self.newest.last_updated_at_ms / 1000, UTC)

    def attention(self) -> list[Attention]:
        """What to look at, the worst first. Stale numbers say nothing of now."""
        fresh = {queue: stats for queue, stats in self.stats.items() if stats is not None and not stats.is_stale}
        scheduler: SchedulerState = "publishes"
        if self.is_stale:
            scheduler = "starting" if self.is_starting else "missing"
        return attention(fresh, scheduler=scheduler)

    def in_order(self) -> list[str]:
        """The queues, those that need attention first."""
        ranks = {queue: 1 for queue, stats in self.stats.items() if stats is not None and stats.dlq}
        ranks |= {about.queue: 1 for about in self.attention() if about.queue}
        ranks |= {about.queue: 0 for about in self.attention() if about.queue and about.severity == "bad"}
        ranks |= {queue: 0 for queue, stats in self.stats.items() if stats is None or stats.is_stale}
        return sorted(self.stats, key=lambda queue: ranks.get(queue, 2))


def draw(reading: Reading, *, width: int, has_blocks: bool) -> RenderableType:
    """The whole view. `has_blocks`: the terminal can show block characters."""
    return Group(_headline(reading), Text(""), _table(reading, width, has_blocks), *_notes(reading))


def sparkline(counts: Sequence[int], failed: Sequence[int], width: int) -> Text:
    """Counts as blocks, the highest of its own scale, red where most of them failed; `width` divides their number."""
    step = len(counts) // width
    sums, bad = ([sum(each[start : start + step]) for start in range(0, len(each), step)] for each in (counts, failed))
    top = max(sums, default=0)
    drawn = Text()
    for value, of_them in zip(sums, bad, strict=True):
        # Something is never drawn as nothing.
        block = _BLOCKS[-(-value * (len(_BLOCKS) - 1) // top)] if value else _BLOCKS[0]
        drawn.append(block, "red" if value and 2 * of_them >= value else "cyan")
    return drawn


def _headline(reading: Reading) -> Text:
    if reading.is_stale and reading.is_starting:
        return Text("The scheduler is starting: nothing of now has been published yet.", style="yellow")
    if reading.newest is None or reading.as_of is None:
        return Text(f"Nothing is published: no scheduler runs; {START_A_SCHEDULER}", style="bold red")
    moment = f"as of {reading.as_of.astimezone():%H:%M:%S}, {span(max(0, reading.newest.age_ms))} ago"
    if reading.is_stale:
        return Text(f"Stale, {moment}: no scheduler publishes; {START_A_SCHEDULER}", style="bold red")
    publisher = f"  ·  published by {reading.newest.publisher}"
    return Text.assemble(moment, (f"{publisher}  ·  p95 of runs that completed in five minutes", "dim"))


def _table(reading: Reading, width: int, has_blocks: bool) -> Table:
    worst = {about.queue: about.severity for about in reversed(reading.attention())}
    queues = reading.in_order()
    rows = [_cells(queue, reading.stats[queue], worst.get(queue)) for queue in queues]
    names, left = _fitting(rows, width, _SPARK_WIDTHS[-1] + 1 if has_blocks else 0)
    spark_width = next((columns for columns in _SPARK_WIDTHS if columns < left), 0) if has_blocks else 0
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, justify="left" if name in ("queue", "state") else "right", no_wrap=True)
    if spark_width:
        table.add_column("last hour", no_wrap=True)
    for queue, row in zip(queues, rows, strict=True):
        cells = [row[name] for name in names]
        if spark_width:
            cells.append(sparkline(reading.last_hour[queue], reading.failed[queue], spark_width))
        table.add_row(*cells)
    return table


def _fitting(rows: Sequence[Mapping[str, Text]], width: int, spark_width: int) -> tuple[list[str], int]:
    """The columns that have room beside each other, so that no number is cut, and how much room is left. The first that
    go make room for the last hour, too.
    """
    names = list(rows[0])
    widths = {name: max(cell_len(name), *(row[name].cell_len for row in rows)) + 1 for name in names}
    for number, name in enumerate(_LEAST_NEEDED):
        beside = spark_width if number < _FOR_THE_LAST_HOUR else 0
        if sum(widths[each] for each in names) - 1 + beside <= width:
            break
        names.remove(name)
    return names, width - sum(widths[each] for each in names) + 1


def _cells(queue: str, stats: QueueStats | None, severity: str | None) -> dict[str, Text]:
    """A row, by its columns' names."""
    if stats is None:
        row = {"queue": Text(queue), "state": Text("unknown", style="red")}
        return row | {name: Text("-") for name in _NUMBERS}
    state = "stale" if stats.is_stale else "paused" if stats.is_paused else "running"
    oldest, p95 = stats.oldest_waiting_age_ms, stats.p95_duration_ms
    numbers = (
        Text(f"{stats.waiting + stats.paused:,}", style="yellow" if stats.is_paused else ""),
        Text(f"{stats.active:,}"),
        Text(f"{stats.delayed:,}"),
        Text(str(stats.workers), style="" if stats.workers else "red"),
        Text(f"{stats.dlq:,}", style="red" if stats.dlq else ""),
        Text(_per_minute(stats.completed_rate)),
        Text(_per_minute(stats.failed_rate), style="red" if stats.failed_rate else ""),
        Text("-" if p95 is None else span(p95) + of_few(stats.runs)),
        Text("-" if oldest is None else span(oldest)),
    )
    return {
        "queue": Text(queue, style=_STYLES.get(severity or "", "")),
        "state": Text(state, style=_STATE_STYLES[state]),
    } | dict(zip(_NUMBERS, numbers, strict=True))


def _per_minute(rate: float) -> str:
    return f"{rate * 60:,.1f}" if rate * 60 < 10 else f"{rate * 60:,.0f}"


def _notes(reading: Reading) -> list[Text]:
    alike: dict[str, list[Attention]] = {}
    for note in reading.attention():
        # That nobody publishes stands in the headline.
        if note.kind != "no-scheduler":
            alike.setdefault(note.kind.replace("-", " "), []).append(note)
    lines: list[Text] = []
    for kind, notes in alike.items():
        if len(notes) > _TOLD_EACH:
            lines.append(_note(kind, ", ".join(note.queue or "all" for note in notes), notes[0]))
        else:
            lines += [_note(note.queue, note.text, note) for note in notes]
    return [Text(""), *lines] if lines else []


def _note(subject: str | None, text: str, note: Attention) -> Text:
    return Text.assemble((f"{subject}: " if subject else "", "bold"), (text, _STYLES[note.severity]))


def span(ms: float) -> str:
    """A duration in its largest unit, with two digits or more."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    if ms < 120_000:
        return f"{ms / 1000:.0f} s"
    return f"{ms / 60_000:.0f} min" if ms < 7_200_000 else f"{ms / 3_600_000:.0f} h"
