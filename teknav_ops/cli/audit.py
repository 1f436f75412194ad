"""`teknav audit`: who did what, and what became of a job."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import typer

from teknav_ops.audit.entries import OUTCOMES
from teknav_ops.audit.story import story as tell
from teknav_ops.audit.trail import AuditEntry, AuditFilter, AuditPage, AuditTrail
from teknav_ops.cli import show
from teknav_ops.cli.audit_chain import accept, export, verify
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import CursorOption, JsonOption, LimitOption, SinceOption, UntilOption, parse_window
from teknav_ops.cli.snapshot_command import snapshot
from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.jobs.paging import PAGE_LIMIT
from teknav_ops.one_line import for_terminal
from teknav_ops.topology import TOPOLOGY

app = typer.Typer(help="The audit trail: who, when, what, and one job's story.", no_args_is_help=True)
app.command("snapshot")(snapshot)
app.command("verify")(verify)
app.command("export")(export)
app.command("accept")(accept)

QueueOption = Annotated[str | None, typer.Option("--queue", help="Only this queue's.")]
ActionOption = Annotated[str | None, typer.Option("--action", help="Only this action; `dlq.` for all that begin so.")]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Only what this operator, worker or producer did.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Only this job id.")]
TraceOption = Annotated[str | None, typer.Option("--trace", help="Only jobs of this trace id.")]
ErrorOption = Annotated[str | None, typer.Option("--error-type", help="Only this type of error.")]
FingerprintOption = Annotated[str | None, typer.Option("--fingerprint", help="Only this cause.")]
OutcomeOption = Annotated[str | None, typer.Option("--outcome", help=f"{', '.join(OUTCOMES)}.")]
TextOption = Annotated[str | None, typer.Option("--text", help="Only with this in detail, error type or job name.")]
LinesOption = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]

_FOLLOW_SECONDS: Final = 0.5
_CSV_COLUMNS: Final = (
    "id", "at", "action", "actor", "queue", "job_id", "job_name", "attempt", "delivery", "duration_ms", "waited_ms",
    "error_type", "fingerprint", "trace_id", "outcome", "detail",
)  # fmt: skip


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    queue: QueueOption = None,
    action: ActionOption = None,
    actor: ActorOption = None,
    job: JobOption = None,
    trace: TraceOption = None,
    error_type: ErrorOption = None,
    fingerprint: FingerprintOption = None,
    outcome: OutcomeOption = None,
    text: TextOption = None,
    limit: LimitOption = 20,
    json_lines: LinesOption = False,
) -> None:
    """The newest entries, the last of them at the end; with --follow, those that come."""
    where = AuditFilter(
        queue=_known(queue), action=action, actor=actor, job_id=job, trace_id=trace, error_type=error_type,
        fingerprint=fingerprint, outcome=outcome, text=text,
    )  # fmt: skip
    trail = AuditTrail(Context().database)
    begin = trail.newest_id()
    newest = trail.page(where, limit=limit).items
    for entry in reversed(newest):
        _print_line(entry, json_lines)
    if follow:
        shown = {entry.id for entry in newest}
        for entry in _coming(trail, where, begin):
            if entry.id not in shown:
                _print_line(entry, json_lines)


def _coming(trail: AuditTrail, where: AuditFilter, after_id: int) -> Iterator[AuditEntry]:
    was_away = False
    while True:
        try:
            entries, newest = trail.since(after_id, where)
        except StorageUnavailable as error:
            if not was_away:
                show.errors.print(f"waiting: {error}", markup=False)
            was_away, entries, newest = True, [], after_id
        else:
            was_away = False
        yield from entries
        if newest == after_id:
            time.sleep(_FOLLOW_SECONDS)
        after_id = newest


@app.command()
def query(
    queue: QueueOption = None,
    action: ActionOption = None,
    actor: ActorOption = None,
    job: JobOption = None,
    trace: TraceOption = None,
    error_type: ErrorOption = None,
    fingerprint: FingerprintOption = None,
    outcome: OutcomeOption = None,
    text: TextOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV; --limit may then be any number.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Entries that match, newest first."""
    where = AuditFilter(
        queue=_known(queue), action=action, actor=actor, job_id=job, trace_id=trace, error_type=error_type,
        fingerprint=fingerprint, outcome=outcome, text=text, window=parse_window(since, until),
    )  # fmt: skip
    trail = AuditTrail(Context().database)
    if as_csv:
        if json_output:
            raise InvalidRequest("--csv: leave out --json; an answer has one form")
        _write_csv(_all_pages(trail, where, cursor, limit))
        return
    page = trail.page(where, cursor=cursor, limit=limit)
    if json_output:
        show.as_json(page)
        return
    _print_all(page.items, empty="No entries match.")
    _say_how_to_go_on(page)


@app.command()
def story(
    job_or_trace: Annotated[str, typer.Argument(help="Id of a job, or a trace id for all its jobs.")],
    json_output: JsonOption = False,
) -> None:
    """Everything on record about one job, oldest first, also what is not yet in AuditLog."""
    context = Context()
    told = tell(context.database, context.client, TOPOLOGY, job_or_trace)
    if json_output:
        show.as_json(told)
        return
    _print_all(told.entries, empty=f"Nothing is on record about {job_or_trace}.")
    if not told.is_complete:
        show.errors.print("There is more than could be looked at.")


def _known(queue: str | None) -> str | None:
    return None if queue is None else TOPOLOGY[queue].name


def _print_all(entries: Iterable[AuditEntry], *, empty: str) -> None:
    lines = [_line(entry, "%Y-%m-%d %H:%M:%S") for entry in entries]
    for line in lines or [empty]:
        show.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _say_how_to_go_on(page: AuditPage) -> None:
    if page.next_cursor is None:
        return
    far = "" if page.looked_back_to is None else f"looked back to {page.looked_back_to.astimezone():%Y-%m-%d %H:%M}; "
    show.console.print(f"[dim]{far}go on with --cursor {page.next_cursor}[/dim]", highlight=False, soft_wrap=True)


def _gist(entry: AuditEntry) -> str:
    detail = entry.detail or {}
    said = str(detail.get("text") or "") if set(detail) <= {"text"} else json.dumps(detail, ensure_ascii=False)
    return ": ".join(part for part in (entry.error_type, said.partition("\n")[0][:120]) if part)


def _print_line(entry: AuditEntry, json_lines: bool) -> None:
    if json_lines:
        show.write_json(show.plain(entry))
        return
    show.console.print(_line(entry, "%H:%M:%S"), markup=False, highlight=False, soft_wrap=True)


def _line(entry: AuditEntry, moment: str) -> str:
    """All that a person wants to know of an entry; never cut, so that ids can be copied and lines searched."""
    facts = (
        entry.queue,
        entry.job_name,
        entry.job_id,
        entry.actor and f"by {entry.actor}",
        entry.attempt and entry.attempt > 1 and f"attempt {entry.attempt}",
        entry.duration_ms is not None and f"{entry.duration_ms:,.1f} ms",
        entry.waited_ms is not None and entry.waited_ms >= 1_000 and f"waited {show.span(entry.waited_ms / 1000)}",
        entry.outcome,
        _gist(entry),
    )
    told = "  ".join(str(fact) for fact in facts if fact)
    return f"{entry.at.astimezone().strftime(moment)}  {entry.action:<16}  {told}"


def _all_pages(trail: AuditTrail, where: AuditFilter, cursor: str | None, limit: int) -> Iterator[AuditEntry]:
    left = limit
    while True:
        page = trail.page(where, cursor=cursor, limit=max(1, min(left, PAGE_LIMIT)) if limit > 0 else limit)
        yield from page.items
        left, cursor = left - len(page.items), page.next_cursor
        if cursor is None or left <= 0:
            return


def _write_csv(entries: Iterator[AuditEntry]) -> None:
    try:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(_CSV_COLUMNS)
        for entry in entries:
            plain = show.plain(entry)
            lines.writerow([_csv_cell(plain[name]) for name in _CSV_COLUMNS])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; what Python would write at its end has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _csv_cell(value: Any) -> Any:
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    value = for_terminal(value) if isinstance(value, str) else value
    # A spreadsheet would run as a formula what someone put into an error message.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
