"""`teknav dlq delete` and `teknav dlq purge`."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.dlq_options import OldestOption, YesOption, by_count, filtered
from teknav_ops.cli.options import JsonOption, QueueArgument
from teknav_ops.deletions import checked_reason
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter


@filtered
def delete(
    queue: QueueArgument,
    where: DeadLetterFilter,
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Their jobs' ids; without, all that match.")
    ] = None,
    limit: OldestOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; asked for unless given. In each job's audit trail.")] = None,
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Delete dead letters that need no more work: those of the jobs named, or a frozen list of all that match."""
    control = Context().control
    if job_ids and (limit is not None or where != DeadLetterFilter()):
        raise InvalidRequest("job: name jobs, or choose by filters and --limit; not both")
    if job_ids and len(job_ids) == 1 and reason is None:
        control.delete(queue, job_ids[0])
        show.console.print(f"the dead letter of {job_ids[0]} is deleted", soft_wrap=True)
        return
    if yes or json_output:
        reason = checked_reason(reason or "")
        if not job_ids and limit is None and where == DeadLetterFilter():
            # An empty list of ids in a script must not mean all.
            raise InvalidRequest(f"job: name jobs, a filter or --limit; all there are: teknav dlq purge {queue}")
    plan = control.preview_deletion(queue, where, limit=limit, job_ids=job_ids)
    if not (yes or json_output):
        show.table(("error type", "count"), by_count(plan), empty=f"No dead letters match on {queue}.")
        if not plan.total_count or not typer.confirm(f"Delete {plan.extent} for good?"):
            return
        reason = checked_reason(reason or typer.prompt("Why"))
    with show.errors.status("deleting") as status:
        done = control.delete_listed(
            queue,
            plan.id,
            reason=reason or "",
            on_progress=lambda n: status.update(f"deleting: {n:,} of {plan.extent}"),
        )
    if json_output:
        show.as_json(done)
    else:
        show.console.print(done.outcome)


def purge(
    queue: QueueArgument,
    confirm: Annotated[str | None, typer.Option(help="The queue's name, instead of typing it when asked.")] = None,
) -> None:
    """Delete all dead letters of a queue. Asks you to type the queue's name."""
    context = Context()
    count = context.jobs.counts(queue).dlq
    typed = confirm if confirm is not None else typer.prompt(f"Delete {count:,} dead letters? Type {queue} to confirm")
    with show.errors.status("purging") as status:
        deleted = context.control.purge(
            queue, confirmation=typed, on_progress=lambda n: status.update(f"purging: {n:,} of {count:,}")
        )
    show.console.print(f"{deleted:,} dead letters deleted")
