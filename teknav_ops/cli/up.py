"""`teknav up`: everything, in one process tree."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.alerts.setup import alert_setup
from teknav_ops.cli.context import Context
from teknav_ops.runtime.supervisor import Supervisor


def up(
    processes: Annotated[int, typer.Option("--processes", "-p", help="Worker processes.")] = 2,
    threads: Annotated[int, typer.Option("--threads", "-t", help="Threads per worker process.")] = 8,
    demo: Annotated[bool, typer.Option(help="Keep enqueueing jobs on the sample content.")] = True,
) -> None:
    """Start everything: Valkey, database, workers, scheduler. Ctrl-C stops it all."""
    settings = Context().settings
    # What is wrong with the alerts is said before anything starts.
    alert_setup(settings)
    raise typer.Exit(Supervisor(settings, processes=processes, threads=threads, demo=demo).run())
