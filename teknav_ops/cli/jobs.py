"""`teknav jobs`: find jobs, read one, and change what may still be changed."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import (
    LOOKING_SECONDS,
    CursorOption,
    JobArgument,
    JsonOption,
    LimitOption,
    QueueArgument,
    SinceOption,
    UntilOption,
    parse_window,
)
from teknav_ops.jobs.queries import JobFilter
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState

app = typer.Typer(help="List and show jobs; retry, promote, cancel, run again.", no_args_is_help=True)


@app.command("list")
def list_jobs(
    queue: QueueArgument,
    state: Annotated[JobState, typer.Option(help="Which jobs.")] = JobState.WAITING,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    trace: Annotated[str | None, typer.Option(help="Only jobs of this trace id.")] = None,
    text: Annotated[str | None, typer.Option(help="Only jobs with this in a value of their payload.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    sort: Annotated[str | None, typer.Option(help="due_at or finished_at; with - before it: last to first.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    json_output: JsonOption = False,
) -> None:
    """A page of a queue's jobs in one state."""
    where = JobFilter(name=name, trace_id=trace, text=text, window=parse_window(since, until))
    page = Context().jobs.page(
        queue, state, where=where, sort=sort, cursor=cursor, limit=limit, looking_seconds=LOOKING_SECONDS
    )
    if json_output:
        show.as_json(page)
        return
    show.table(
        ("id", "job", "attempts", "enqueued", "due", "ended", "ms", "error"),
        [
            (
                job.id, job.name, job.attempts_made, job.enqueued_at, job.due_at, job.finished_at,
                job.duration_ms, "stuck" if job.stuck_at else job.error_type,
            )
            for job in page.items
        ],
        empty=f"No {state} jobs match on {queue}.",
    )  # fmt: skip
    show.more(page)


@app.command("show")
def show_job(
    job_id: JobArgument,
    queue: Annotated[str | None, typer.Option(help="Its queue, if you know it.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Everything that is known of one job."""
    jobs = Context().jobs
    record = jobs.get(queue, job_id) if queue else jobs.find(job_id)
    if json_output:
        show.as_json(record)
        return
    _print_record(record)


def _print_record(record: JobRecord) -> None:
    facts = record.model_dump(mode="json", exclude={"attempts", "payload", "result"}, exclude_none=True)
    for name, value in facts.items():
        show.console.print(f"[bold]{name:>16}[/bold]  ", end="")
        show.console.print(str(value), markup=False)
    for name, value in (("payload", record.payload), ("result", record.result)):
        show.console.print(f"[bold]{name:>16}[/bold]  ", end="")
        show.console.print_json(data=value, ensure_ascii=False)
    for attempt in record.attempts:
        show.console.rule(f"attempt {attempt.attempt}, {show.age(attempt.started_at)}, {attempt.duration_ms:,.1f} ms")
        show.console.print(attempt.stack, markup=False)


@app.command()
def retry(queue: QueueArgument, job_id: JobArgument) -> None:
    """Run a failed job again."""
    Context().control.retry(queue, job_id)
    show.console.print(f"{job_id} is waiting")


@app.command("run-again")
def run_again(queue: QueueArgument, job_id: JobArgument, json_output: JsonOption = False) -> None:
    """Run a completed or cancelled job once more, as a new job."""
    accepted = Context().control.run_again(queue, job_id)
    if json_output:
        show.as_json(accepted)
    else:
        was = "is waiting" if accepted.is_new else "runs it again already; no other job was made"
        show.console.print(f"{accepted.job_id} {was}")


@app.command()
def promote(queue: QueueArgument, job_id: JobArgument) -> None:
    """Run a delayed job now."""
    Context().control.promote(queue, job_id)
    show.console.print(f"{job_id} is waiting")


@app.command()
def cancel(queue: QueueArgument, job_id: JobArgument) -> None:
    """Take a waiting or delayed job out."""
    Context().control.cancel(queue, job_id)
    show.console.print(f"{job_id} is cancelled")
