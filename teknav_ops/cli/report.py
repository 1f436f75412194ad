"""`teknav report`: run a notebook as a report, and find what was published."""

from __future__ import annotations

import time
import webbrowser
from typing import Annotated, Any

import typer
from rich.status import Status

from teknav_ops.access.policy import local_operator
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import BoundedLimitOption, JsonOption
from teknav_ops.errors import InvalidRequest
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.reports.catalogue import Catalogue
from teknav_ops.reports.claims import Comings
from teknav_ops.reports.desk import ReportDesk
from teknav_ops.reports.page import WORDS, number_words
from teknav_ops.reports.parameters import parse_pairs
from teknav_ops.reports.runs import RunMeta, Tick
from teknav_ops.reports.schedules import Deliver, Schedule, misfits_of, schedule_of, written_schedules
from teknav_ops.reports.store import FILES, PAGE, ReportStore

app = typer.Typer(help="Reports: run notebooks unattended, and find what they said.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the report, such as queue_health.")]


@app.command()
def run(
    name: NameArgument,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A parameter, as name=value.")] = None,
    as_scheduled: Annotated[
        bool, typer.Option("--as-scheduled", help="NAME is an entry's key in TEKNAV_REPORT_SCHEDULES: do as it says.")
    ] = False,
    mail: Annotated[list[str] | None, typer.Option(help="Send it to this address, too.")] = None,
    webhook: Annotated[str | None, typer.Option(help="Post the summary there.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page when it is done.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Run a report now. Exits with 0, or 3 when a limit is breached, 1 when it failed, 2 on wrong input."""
    context = Context()
    schedule = schedule_of(context.settings, name) if as_scheduled else Schedule(name=name)
    desk = ReportDesk(context.settings, context.database)
    try:
        with show.errors.status(f"{schedule.name} begins") as status:
            meta = desk.run(
                schedule.name, schedule.params | parse_pairs(param or []), who=local_operator(context.settings).name,
                schedule=schedule.key if as_scheduled else None, allow_replay=schedule.allow_replay,
                deliver=_deliver(schedule.deliver, mail or [], webhook), tick=_shown_by(status, schedule.name),
            )  # fmt: skip
    except OSError as error:
        raise InvalidRequest(f"report_dir: {context.settings.report_root} cannot be used: {error.strerror}") from None
    if as_scheduled and meta.has_told:
        _note_coming(context, schedule.key)
    page = (desk.store.root / meta.name / meta.run / PAGE).absolute()
    if json_output:
        show.as_json(meta)
    else:
        _tell(meta)
        show.console.print(f"page        {page}", markup=False, soft_wrap=True)
    if open_page:
        webbrowser.open(page.as_uri())
    raise typer.Exit(meta.exit_code)


@app.command("list")
def list_reports(json_output: JsonOption = False) -> None:
    """The reports there are, what they take, and how the newest run of each ended."""
    settings = Context().settings
    newest = {meta.name: meta for meta in ReportStore(settings.report_root).newest()}
    catalogue, schedules = Catalogue(settings.notebooks_root), written_schedules(settings)
    misfits = misfits_of(settings, schedules)
    rows: list[dict[str, Any]] = []
    for name in sorted({*catalogue.names(), *(schedule.name for schedule in schedules)}):
        of_this = [schedule for schedule in schedules if schedule.name == name]
        problems = [misfits[schedule.key] for schedule in of_this if schedule.key in misfits]
        crons = [schedule.cron for schedule in of_this if schedule.cron]
        rows.append(
            {"problem": problems[0] if problems else None} | _described(catalogue, name)
            | {"schedules": crons, "newest": newest.get(name)}
        )  # fmt: skip
    if json_output:
        show.as_json(rows)
        return
    show.table(
        ("report", "newest run", "status", "schedule", "takes"),
        [
            (row["name"], newest[row["name"]].started_at if row["name"] in newest else None,
             WORDS[newest[row["name"]].status] if row["name"] in newest else "not run yet",
             ", ".join(row["schedules"]), row["problem"] or "; ".join(row["parameters"]))
            for row in rows
        ],
        empty=f"There are no notebooks in {settings.notebooks_root}; set TEKNAV_NOTEBOOKS_DIR.",
    )  # fmt: skip


@app.command()
def history(name: NameArgument, limit: BoundedLimitOption = 20, json_output: JsonOption = False) -> None:
    """A report's runs, newest first."""
    runs = ReportStore(Context().settings.report_root).history(name, limit=limit)
    if json_output:
        show.as_json(runs)
        return
    show.table(
        ("run", "began", "status", "s", "by", "said"),
        [(meta.run, meta.started_at, WORDS[meta.status], meta.seconds, meta.who, _said(meta)) for meta in runs],
        empty=f"{name} has not been run yet. `teknav report run {name}` runs it.",
    )


@app.command("show")
def show_run(
    name: NameArgument,
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id; unset: the newest.")] = None,
    json_output: JsonOption = False,
) -> None:
    """One run: what it said, who was told, and where its files are."""
    store = ReportStore(Context().settings.report_root)
    meta = store.get(name, run_id)
    folder = store.folder(meta.name, meta.run).absolute()
    if json_output:
        show.as_json(meta.model_dump(mode="json") | {"folder": str(folder)})
        return
    _tell(meta)
    for file in FILES:
        if (folder / file).is_file():
            show.console.print(f"{file:<11} {folder / file}", markup=False, soft_wrap=True)


def _described(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """What its notebook says; one that cannot be used hides no other."""
    try:
        report = catalogue.get(name)
    except InvalidRequest as error:
        return {"name": name, "title": "", "parameters": [], "problem": str(error)}
    parameters = [parameter.words for parameter in report.parameters.values()]
    return {"name": name, "title": report.title, "parameters": parameters}


def _shown_by(status: Status, name: str) -> Tick:
    """A line that moves while a person waits; where nobody looks at a terminal there is none."""
    begun = time.monotonic()
    return lambda doing: status.update(f"{name} {doing} ({time.monotonic() - begun:.0f} s)")


def _deliver(scheduled: Deliver, mail: list[str], webhook: str | None) -> Deliver:
    try:
        return Deliver(
            mail=(*scheduled.mail, *mail), webhook=webhook or scheduled.webhook, attach=scheduled.attach
        )  # fmt: skip
    except ValueError as error:
        raise InvalidRequest(f"--mail or --webhook: {error}") from None


def _note_coming(context: Context, key: str) -> None:
    """Whoever looks for late reports must know; without Redis it will be known at the next run."""
    try:
        Comings(context.client).came(key)
    except OUTAGE_ERRORS as error:
        show.errors.print(f"Redis does not answer, so {key} may be called late: {error}", markup=False)


def _said(meta: RunMeta) -> str:
    return meta.error or ", ".join(f"{number.name}: {number_words(number)}" for number in meta.numbers)


def _tell(meta: RunMeta) -> None:
    lines = [("report", f"{meta.name} ({meta.title})"), ("run", meta.run),
             ("status", f"{WORDS[meta.status]}, {meta.seconds:,.1f} s, by {meta.who}")]  # fmt: skip
    lines += [("said", meta.error)] if meta.error else []
    lines += [("", f"{number.name}: {number_words(number)}") for number in meta.numbers]
    lines += [("told", f"{to.channel}: {to.status} {to.words}") for to in meta.deliveries]
    for name, text in lines:
        show.console.print(f"{name:<11} {text}", markup=False, highlight=False, soft_wrap=True)
