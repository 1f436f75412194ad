"""`teknav workflows`: save, list, look at runs, decide, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import BoundedLimitOption, JsonOption, parse_data

app = typer.Typer(help="Workflows: save, list, look at runs, approve, reject, cancel.", no_args_is_help=True)

RunArgument = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="Number of the run.")]
StepArgument = Annotated[str, typer.Argument(help="Id of the approval step.")]
CommentOption = Annotated[str, typer.Option(help="Why.")]


@app.command()
def save(definition: Annotated[str, typer.Argument(help="The definition: JSON, or @file.")]) -> None:
    """Check a definition and save it as a new version."""
    saved = Context().control.workflows.save(parse_data(definition))
    show.console.print(f"{saved.slug} version {saved.version}")


@app.command("list")
def list_workflows(json_output: JsonOption = False) -> None:
    """The newest version of each workflow."""
    saved = Context().control.workflows.saved()
    if json_output:
        show.as_json(saved)
        return
    show.table(
        ("workflow", "version", "saved", "by", "title"),
        [(w.slug, w.version, w.created_at, w.created_by, w.title) for w in saved],
        empty="No workflows. Save one: teknav workflows save @definition.json",
    )


@app.command()
def runs(
    status: Annotated[str | None, typer.Option(help="running, waiting, completed, failed, cancelled …")] = None,
    limit: BoundedLimitOption = 20,
    json_output: JsonOption = False,
) -> None:
    """Runs, newest first."""
    found = Context().control.workflows.runs(status=status, limit=limit)
    if json_output:
        show.as_json(found)
        return
    show.table(
        ("run", "workflow", "version", "status", "started", "looks again", "error"),
        [(r.id, r.workflow, r.version, r.status, r.started_at, r.wake_at, r.error) for r in found],
        empty="No runs. Start one: teknav enqueue workflows:run run-workflow --data '{\"workflow\": …}'",
    )


@app.command("show")
def show_run(run: RunArgument, json_output: JsonOption = False) -> None:
    """A run and everything that happened to its steps."""
    view, steps = Context().control.workflows.show(run)
    if json_output:
        show.as_json({"run": view, "steps": steps})
        return
    show.console.print(f"run {view.id}: {view.workflow} version {view.version}, {view.status}", highlight=False)
    show.table(
        ("#", "at", "step", "try", "status", "job", "path", "error"),
        [
            (s.sequence, s.at, s.step_id, s.attempt, s.status, s.child_job_id, s.path, s.error and s.error_type)
            for s in steps
        ],
        empty="Nothing has happened yet.",
    )


@app.command()
def approve(run: RunArgument, step: StepArgument, comment: CommentOption = "") -> None:
    """Let a run that waits for a person go on."""
    Context().control.workflows.approve(run, step, comment=comment)
    show.console.print(f"run {run}: {step} is approved")


@app.command()
def reject(run: RunArgument, step: StepArgument, comment: CommentOption = "") -> None:
    """Say no to a run that waits for a person."""
    Context().control.workflows.reject(run, step, comment=comment)
    show.console.print(f"run {run}: {step} is rejected")


@app.command()
def cancel(run: RunArgument) -> None:
    """Stop a run: nothing more is begun, jobs it waits for are taken out."""
    Context().control.workflows.cancel(run)
    show.console.print(f"run {run} is cancelled")
