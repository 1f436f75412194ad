"""`teknav`: the commands, and how errors become exit codes.

0 done · 1 a check failed · 2 the input was wrong · 3 Redis or SQL did not answer · 4 not allowed ·
130 interrupted
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from cryptography.fernet import Fernet
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from teknav_ops.alerts.setup import alert_setup
from teknav_ops.cli import alerts, audit, dlq, doctor, jobs, plugins, queues, show, tokens, users, webhooks, workflows
from teknav_ops.cli import report as reports
from teknav_ops.cli.context import Context
from teknav_ops.cli.demo import demo as run_demo
from teknav_ops.cli.events import events
from teknav_ops.cli.lab import lab
from teknav_ops.cli.options import JsonOption, LimitOption, QueueArgument, parse_data, parse_span
from teknav_ops.cli.reindex import reindex
from teknav_ops.cli.serve import serve
from teknav_ops.cli.stats import stats
from teknav_ops.errors import (
    NotAllowed,
    RedisUnavailable,
    StorageUnavailable,
    TekNavError,
)
from teknav_ops.logs import configure_command_logs
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.storage.schema import current_revision, head_revision, upgrade
from teknav_ops.storage.search import search as search_articles

app = typer.Typer(
    help="TekNav ops: run the job system, watch it, and repair it.", no_args_is_help=True,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
database = typer.Typer(help="The SQL database.", no_args_is_help=True)
app.add_typer(queues.app, name="queues")
app.add_typer(jobs.app, name="jobs")
app.add_typer(dlq.app, name="dlq")
app.add_typer(audit.app, name="audit")
app.add_typer(workflows.app, name="workflows")
app.add_typer(plugins.app, name="plugins")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(alerts.app, name="alerts")
app.add_typer(reports.app, name="report")
app.add_typer(users.app, name="users")
app.add_typer(tokens.app, name="tokens")
app.add_typer(database, name="db")


@app.command()
def up(
    processes: Annotated[int, typer.Option("--processes", "-p", help="Worker processes.")] = 2,
    threads: Annotated[int, typer.Option("--threads", "-t", help="Threads per worker process.")] = 8,
    demo: Annotated[bool, typer.Option(help="Keep enqueueing jobs on the sample content.")] = True,
) -> None:
    """Start everything: Valkey, database, workers, scheduler. Ctrl-C stops it all."""
    from teknav_ops.runtime.supervisor import Supervisor

    alert_setup(Context().settings)
    raise typer.Exit(Supervisor(Context().settings, processes=processes, threads=threads, demo=demo).run())


app.command("demo")(run_demo)
app.command("events")(events)
app.command("lab")(lab)
app.command("reindex")(reindex)
app.command("serve")(serve)
app.command("stats")(stats)


@app.command("doctor")
def run_doctor(json_output: JsonOption = False) -> None:
    """Check Redis, SQL, versions and settings, and say what to do."""
    findings = list(doctor.examine(Context()))
    if json_output:
        show.as_json(findings)
    for finding in findings if not json_output else ():
        mark = "[green]ok  [/green]" if finding.is_well else "[red]bad [/red]"
        show.console.print(f"{mark} [bold]{finding.check:<9}[/bold] ", end="")
        show.console.print(
            finding.seen + ("" if finding.is_well else f"\n               {finding.remedy}"), markup=False
        )
    raise typer.Exit(0 if all(finding.is_well for finding in findings) else 1)


@app.command()
def enqueue(
    queue: QueueArgument,
    job: Annotated[str, typer.Argument(help="Name of the job, such as optimize-image.")],
    data: Annotated[str, typer.Option(help="The payload: JSON, or @file.")],
    key: Annotated[str | None, typer.Option(help="Idempotency key: one job per key within 24 h.")] = None,
    delay: Annotated[str | None, typer.Option(help="Run it later: 30s, 5m, 2h, 1d.")] = None,
    priority: Annotated[int, typer.Option(help="-9 (first) to 9 (last).")] = 0,
    trace: Annotated[str | None, typer.Option(help="W3C trace id to carry.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Enqueue a job."""
    accepted = Context().producer.enqueue(
        queue, job, parse_data(data), idempotency_key=key, priority=priority, trace_id=trace,
        delay=None if delay is None else parse_span(delay, name="--delay"),
    )  # fmt: skip
    if json_output:
        show.as_json(accepted)
    else:
        show.console.print(
            accepted.job_id if accepted.is_new else f"{accepted.job_id} (the key's first job; no new one)"
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words to find; the last may be a beginning.")],
    language: Annotated[str | None, typer.Option(help="fa or en.")] = None,
    limit: LimitOption = 10,
    json_output: JsonOption = False,
) -> None:
    """Search the articles as readers do."""
    hits = search_articles(Context().database, query, language=language, limit=limit)
    if json_output:
        show.as_json(hits)
        return
    show.table(
        ("article", "lang", "title", "where"),
        [(hit.article_id, hit.language, hit.title, hit.snippet) for hit in hits],
        empty="Nothing found. Are the articles indexed? See `teknav jobs list search:index --state completed`.",
    )


@app.command("secret-key")
def make_secret_key() -> None:
    """Print a new key for TEKNAV_SECRET_KEY."""
    show.console.print(Fernet.generate_key().decode())


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring the schema up to date."""
    url = Context().settings.sql_url
    before = current_revision(url)
    upgrade(url)
    show.console.print(f"schema {before or 'empty'} -> {head_revision()}")


_UNAVAILABLE: tuple[type[Exception], ...] = (RedisUnavailable, StorageUnavailable, *OUTAGE_ERRORS)


def main() -> None:
    """The console script."""
    configure_command_logs()
    sys.exit(run())


def run() -> int:
    """Run the command line; answers its exit code."""
    try:
        # Outside standalone mode, an Exit comes back as its code.
        code = app(standalone_mode=False)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except NotAllowed as error:
        return _fail(str(error), 4)
    except _UNAVAILABLE as error:
        return _fail(f"{error}\nRun `teknav doctor`.", 3)
    except (TekNavError, ValidationError) as error:
        return _fail(str(error), 2)
    except (RedisError, DBAPIError) as error:
        return _fail(f"{error}\nRun `teknav doctor`.", 3)
    except Exception as error:
        shown = getattr(error, "show", None)
        if shown is None:
            raise
        shown()
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    show.errors.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    return code
