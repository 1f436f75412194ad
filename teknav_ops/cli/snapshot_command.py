"""`teknav audit snapshot`: bring the DuckDB snapshots up to date, or make them anew."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption

#: Another exporter, such as the scheduler's, is waited for so long.
_WAIT_SECONDS: Final = 120.0


def snapshot(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Read everything anew, such as after rows were erased in SQL.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Export what is new in AuditLog and publish a DuckDB snapshot."""
    # DuckDB and Arrow are an extra, and slow to import.
    from teknav_ops.snapshots.export import Exporter
    from teknav_ops.snapshots.folder import SnapshotFolder

    context = Context()
    exporter = Exporter.from_settings(context.settings, context.database)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_silent = json_output or not show.errors.is_terminal
    with Progress(*columns, console=show.errors, transient=True, disable=is_silent) as progress:
        task = progress.add_task("rows", total=None)
        done = exporter.export(
            rebuild=rebuild,
            wait_seconds=_WAIT_SECONDS,
            on_progress=lambda count, total: progress.update(task, completed=count, total=total),
        )
    newest = done.path or SnapshotFolder(context.settings.snapshot_root).newest()
    if json_output:
        show.as_json({**show.plain(done), "path": None if done.path is None else str(done.path), "newest": str(newest)})
        return
    what = f"{done.added:,} new rows, {done.changed:,} changed, {done.forgotten:,} too old"
    show.console.print(
        f"{newest}: {what}; {done.row_count:,} rows in all, {done.seconds:.1f} s"
        if done.path
        else f"{newest} holds everything: {done.row_count:,} rows",
        soft_wrap=True,
    )
    if done.is_waiting:
        show.console.print("A transaction that writes the audit trail has been open for long; its rows come later.")
