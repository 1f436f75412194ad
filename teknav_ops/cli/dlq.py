"""`teknav dlq`: dead letters by cause, one by one, and in batches."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.dlq_deletion import delete, purge
from teknav_ops.cli.dlq_options import OldestOption, YesOption, by_count, filtered
from teknav_ops.cli.options import (
    LOOKING_SECONDS,
    CursorOption,
    JobArgument,
    JsonOption,
    LimitOption,
    QueueArgument,
    parse_data,
)
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.paging import is_newest_first

app = typer.Typer(help="List, show, replay, delete and purge dead letters.", no_args_is_help=True)


@app.command()
def groups(
    queue: QueueArgument,
    error_type: Annotated[str | None, typer.Option(help="Only this error type.")] = None,
    sort: Annotated[str, typer.Option(help="count, last_failed_at or first_failed_at; - is falling.")] = "-count",
    limit: LimitOption = 100,
    cursor: CursorOption = None,
    json_output: JsonOption = False,
) -> None:
    """A page of the causes, most frequent first."""
    page = Context().dead_letters.groups(queue, error_type=error_type, sort=sort, cursor=cursor, limit=limit)
    if json_output:
        show.as_json(page)
        return
    show.table(
        ("count", "error type", "fingerprint", "first", "last", "example"),
        [
            (g.count, g.error_type, g.fingerprint, g.first_failed_at, g.last_failed_at, g.example_error[:100])
            for g in page.items
        ],
        empty=f"No dead letters on {queue}: nothing to decide.",
    )
    show.more(page)


@app.command("list")
@filtered
def list_dead_letters(
    queue: QueueArgument,
    where: DeadLetterFilter,
    sort: Annotated[str, typer.Option(help="failed_at: oldest first; -failed_at: newest first.")] = "-failed_at",
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    json_output: JsonOption = False,
) -> None:
    """A page of dead letters, newest first."""
    newest_first = is_newest_first(sort, "failed_at")
    page = Context().dead_letters.page(
        queue, where=where, cursor=cursor, limit=limit, newest_first=newest_first, looking_seconds=LOOKING_SECONDS
    )
    if json_output:
        show.as_json(page)
        return
    show.table(
        ("id", "job", "failed", "attempts", "error type", "error"),
        [
            (d.original_job_id, d.job_name, d.failed_at, d.attempts_made, d.error_type, d.error[:100])
            for d in page.items
        ],
        empty=f"No dead letters match on {queue}.",
    )
    show.more(page)


@app.command("show")
def show_dead_letter(queue: QueueArgument, job_id: JobArgument, json_output: JsonOption = False) -> None:
    """One dead letter, with its stack trace."""
    letter = Context().dead_letters.get(queue, job_id)
    if json_output:
        show.as_json(letter)
        return
    for name, value in letter.model_dump(mode="json", by_alias=True, exclude={"stack", "payload"}).items():
        show.console.print(f"[bold]{name:>16}[/bold]  ", end="")
        show.console.print(str(value), markup=False)
    show.console.print_json(data=letter.payload, ensure_ascii=False)
    show.console.print(letter.stack, markup=False)


@app.command()
def replay(
    queue: QueueArgument,
    job_id: JobArgument,
    data: Annotated[
        str | None, typer.Option(help="Replay with this payload (JSON or @file); •••• keeps the secret it stands for.")
    ] = None,
) -> None:
    """Put one dead letter's job back to wait."""
    Context().control.replay(queue, job_id, data=None if data is None else parse_data(data))
    show.console.print(f"{job_id} is waiting")


@app.command("replay-batch")
@filtered
def replay_batch(
    queue: QueueArgument,
    where: DeadLetterFilter,
    limit: OldestOption = None,
    rate: Annotated[float | None, typer.Option(help="Jobs per second; as fast as possible unless set.")] = None,
    resume: Annotated[str | None, typer.Option(help="Take up an earlier batch replay by its id, as it is.")] = None,
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Freeze the list of all that match, show it, and replay it after a confirmation."""
    control = Context().control
    if resume is not None and (where != DeadLetterFilter() or limit is not None):
        raise InvalidRequest("--resume: its list is frozen; leave out filters and --limit, or preview a new one")
    if resume is None:
        replay_id = _preview(control.preview_replay(queue, where, limit=limit), yes or json_output)
    else:
        replay_id = resume
    if replay_id is None:
        return
    done = _run(control, queue, replay_id, rate, quiet=json_output)
    if json_output:
        show.as_json({**show.plain(done), "skipped_count": done.skipped_count})
    else:
        show.console.print(f"{done.state}: {done.replayed_count:,} of {done.total_count:,} replayed; {done.outcome}")
        show.console.print(f"what becomes of them: teknav dlq replays {queue}", soft_wrap=True)


@app.command()
def replays(
    queue: Annotated[str | None, typer.Argument(help="Only this queue's.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    json_output: JsonOption = False,
) -> None:
    """Batch replays, newest first: which run, and what became of their jobs."""
    page = Context().replays.page(queue=queue, cursor=cursor, limit=limit)
    if json_output:
        show.as_json(page)
        return
    show.table(
        ("id", "queue", "name", "state", "done", "of", "by", "made", "outcome"),
        [
            (r.id, r.queue, r.name, r.state, r.done_count, r.total_count, r.started_by or r.operator, r.created_at,
             r.outcome)
            for r in page.items
        ],
        empty="No batch was previewed or replayed in the last days.",
    )  # fmt: skip
    show.more(page)


@app.command("stop-replay")
def stop_replay(
    queue: QueueArgument, replay_id: Annotated[str, typer.Argument(help="Its id; see `dlq replays`.")]
) -> None:
    """Stop a batch replay, whoever runs it; what was replayed stays replayed."""
    stopped = Context().control.abort_replay(queue, replay_id)
    show.console.print(f"stopped after {stopped.done_count:,} of {stopped.total_count:,}: {stopped.outcome}")


def _preview(plan: Replay, is_confirmed: bool) -> str | None:
    if not is_confirmed or plan.total_count == 0:
        show.table(("error type", "count"), by_count(plan), empty=f"No dead letters match on {plan.queue}.")
    if not is_confirmed and plan.total_count:
        question = f"Replay {plan.extent}? (frozen as {plan.id}; --resume {plan.id} does it later)"
        if not typer.confirm(question):
            return None
    return plan.id if plan.total_count or is_confirmed else None


def _run(control: Any, queue: str, replay_id: str, rate: float | None, *, quiet: bool) -> Replay:
    with Progress(
        "replaying", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=show.errors, disable=quiet
    ) as progress:
        task = progress.add_task("replay", total=None)

        def advance(now: Replay) -> None:
            progress.update(task, total=now.total_count, completed=now.done_count)

        try:
            done: Replay = control.run_replay(queue, replay_id, rate_per_second=rate, on_progress=advance)
        except KeyboardInterrupt:
            control.abort_replay(queue, replay_id)
            raise
    return done


app.command()(delete)
app.command()(purge)
