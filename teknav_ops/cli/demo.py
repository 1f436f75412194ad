"""`teknav demo`: more load, of a chosen shape."""

from __future__ import annotations

import random
import time
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import parse_span
from teknav_ops.errors import InvalidRequest
from teknav_ops.runtime.demo.content import find
from teknav_ops.runtime.demo.load import run_load
from teknav_ops.runtime.demo.orders import Orders
from teknav_ops.runtime.demo.shapes import Shape
from teknav_ops.topology import TOPOLOGY


def demo(
    shape: Annotated[Shape, typer.Option(help="storm: spells in which most jobs fail alike.")] = Shape.STEADY,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Jobs a second, on average.")] = 5.0,
    span: Annotated[str, typer.Option("--for", help="How long: 30s, 5m, 2h.")] = "60s",
    queue: Annotated[list[str] | None, typer.Option(help="Only this queue; repeat for more.")] = None,
) -> None:  # fmt: skip
    """Enqueue jobs on the sample content, some of which fail; Ctrl-C ends it."""
    seconds = parse_span(span, name="--for").total_seconds()
    if seconds <= 0:
        raise InvalidRequest("--for: must be longer than nothing")
    queues = frozenset(TOPOLOGY[name].name for name in queue or ())
    context = Context()
    chance = random.Random()
    orders = Orders(find(context.settings, context.database), chance, queues=queues)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=show.console) as progress:
        task = progress.add_task(f"{shape} load", total=max(1, round(rate * seconds)))
        counts = run_load(
            context.producer, orders, shape, rate_per_second=rate, seconds=seconds, wait=_sleep, chance=chance,
            on_job=lambda _: progress.advance(task),
        )  # fmt: skip
    show.table(("queue", "enqueued"), counts.most_common(), empty="Nothing was enqueued.")


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
