"""`teknav alerts`: what is wrong now, what was, who is told; silences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from teknav_ops.access.policy import local_operator
from teknav_ops.alerts.channels import ChannelFailed
from teknav_ops.alerts.conditions import Condition, evaluate
from teknav_ops.alerts.facts import FactReader
from teknav_ops.alerts.hours import HourBook
from teknav_ops.alerts.notices import Notice
from teknav_ops.alerts.queries import AlertQueries, ListedAlert
from teknav_ops.alerts.rules import dump_rules
from teknav_ops.alerts.setup import AlertSetup, alert_setup
from teknav_ops.alerts.silences import Silences
from teknav_ops.alerts.watch import Since, WatchStore
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import BoundedLimitOption, JsonOption, parse_span
from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.metrics.scheduler_state import SCHEDULER_TEXTS, read_scheduler
from teknav_ops.reports.alerting import RULES
from teknav_ops.topology import TOPOLOGY

app = typer.Typer(help="Alerts: list, evaluate, test the channels, silence.", invoke_without_command=True)

RuleArgument = Annotated[str, typer.Argument(help="Name of the rule, such as dlq-inflow.")]
QueueOption = Annotated[str | None, typer.Option("--queue", "-q", help="Only on this queue.")]


@app.callback()
def list_alerts(ctx: typer.Context, limit: BoundedLimitOption = 20, json_output: JsonOption = False) -> None:
    """Open alerts, the latest that are over, messages nobody took, and silences."""
    if ctx.invoked_subcommand is not None:
        return
    context = Context()
    queries = AlertQueries(context.database, context.client)
    found: dict[str, list[Any]] = {
        "open": queries.open(),
        "recent": queries.recent(limit=limit),
        "undelivered": queries.undelivered(limit=limit),
        "silences": queries.silences(),
    }
    if json_output:
        show.as_json(found)
        return
    if unwatched := SCHEDULER_TEXTS[read_scheduler(context.client, TOPOLOGY)]:
        show.errors.print(unwatched, soft_wrap=True)
    show.table(
        ("severity", "rule", "since", "runbook", "what", "at first"),
        [(a.severity, a.rule, a.since_at, a.runbook, a.message, _at_first(a)) for a in found["open"]],
        empty="No alert is open.",
    )
    for title, columns, rows in _further(found):
        if rows:
            show.console.print(f"\n[bold]{title}[/bold]")
            show.table(columns, rows, empty="")


def _at_first(alert: ListedAlert) -> str:
    return "" if alert.first_message == alert.message else alert.first_message


def _further(found: dict[str, list[Any]]) -> list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    return [
        ("Over", ("opened", "lasted", "rule", "what"),
         [(a.opened_at, _lasted(a), a.rule, a.message) for a in found["recent"]]),
        ("Not delivered", ("channel", "event", "rule", "attempts", "next", "error"),
         [(m.channel, m.event, m.rule, m.attempt_count, "given up" if m.given_up_at else m.next_attempt_at, m.error)
          for m in found["undelivered"]]),
        ("Silenced", ("rule", "queue", "until", "by", "reason"),
         [(s.rule, s.queue or "all", s.until, s.created_by, s.reason) for s in found["silences"]]),
    ]  # fmt: skip


def _lasted(alert: ListedAlert) -> str:
    assert alert.resolved_at is not None
    return show.span((alert.resolved_at - alert.since_at).total_seconds())


@app.command()
def check(json_output: JsonOption = False) -> None:
    """Evaluate every rule now; exits with 1 when a condition holds that is not silenced."""
    context = Context()
    setup = alert_setup(context.settings)
    hours, silenced = _from_sql(context)
    facts = FactReader(context.client, TOPOLOGY, setup.rules).read(hours)
    since = WatchStore(context.client).since()
    rows = [
        _checked(condition, since.get(condition.key), silenced) for condition in evaluate(setup.rules, facts)
    ]  # fmt: skip
    if json_output:
        show.as_json(rows)
    else:
        _show_checked(setup, rows)
    raise typer.Exit(1 if any(row["state"] == "firing" for row in rows) else 0)


def _from_sql(context: Context) -> tuple[Any, set[tuple[str, str]]]:
    """Hours and silences; without SQL, the rules that need it say that they do not know."""
    try:
        hours = HourBook(context.client, context.database, TOPOLOGY).look()
        return hours, {(silence.rule, silence.queue) for silence in AlertQueries(context.database).silences()}
    except StorageUnavailable as error:
        show.errors.print(f"{error}; silences and long windows are unknown", markup=False)
        return None, set()


def _checked(condition: Condition, since: Since | None, silenced: set[tuple[str, str]]) -> dict[str, Any]:
    is_silenced = bool({(condition.rule, condition.queue), (condition.rule, "")} & silenced)
    is_known = since is not None and since.state == condition.state
    return {
        "rule": condition.rule,
        "kind": condition.kind,
        "severity": condition.severity,
        "queue": condition.queue,
        "state": "silenced" if condition.is_firing and is_silenced else condition.state,
        "value": condition.value,
        "limit": condition.limit,
        "unit": condition.unit,
        "since": datetime.fromtimestamp(since.at_ms / 1000, UTC) if since and is_known else None,
        "message": condition.message,
    }


def _show_checked(setup: AlertSetup, rows: list[dict[str, Any]]) -> None:
    """Every condition that holds; of other rules, the queue that is nearest to its limit."""
    shown = []
    for rule in setup.rules:
        mine = [row for row in rows if row["rule"] == rule.name]
        holding = [row for row in mine if row["state"] in ("firing", "silenced")]
        nearest = sorted(mine, key=lambda row: (row["value"] or 0) / (row["limit"] or 1), reverse=True)[:1]
        shown += holding or nearest
    show.table(
        ("rule", "severity", "state", "since", "what"),
        [(row["rule"], row["severity"], row["state"], row["since"], row["message"]) for row in shown],
        empty="There are no rules.",
    )


@app.command()
def rules() -> None:
    """The rules in force, as TEKNAV_ALERT_RULES takes them."""
    show.as_json(dump_rules(tuple(alert_setup(Context().settings).rules)))


@app.command()
def test() -> None:
    """Send a test message through every channel and say what became of it."""
    channels = alert_setup(Context().settings).channels
    if not channels:
        raise InvalidRequest("no channel: set TEKNAV_ALERT_WEBHOOK_URL or TEKNAV_ALERT_MAIL_TO")
    now = datetime.now(UTC)
    notice = Notice(
        message_id=f"alert_test_{int(now.timestamp() * 1000)}", event="test", rule="test", kind="test",
        severity="ticket", at=now, alerts=(), runbook="docs/alerts.md",
    )  # fmt: skip
    has_failed = False
    for channel in channels:
        try:
            show.console.print(f"{channel.name}: {channel.send(notice)}", markup=False, soft_wrap=True)
        except ChannelFailed as error:
            has_failed = True
            show.errors.print(f"{channel.name}: {error}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if has_failed else 0)


@app.command()
def silence(
    rule: RuleArgument,
    reason: Annotated[str, typer.Option(help="Why; whoever comes next has to know.")],
    queue: QueueOption = None,
    span: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")] = "1h",
) -> None:
    """Open no alert of a rule for a while; open ones stay open."""
    until = _silences().silence(rule, queue, span=parse_span(span, name="--for"), reason=reason)
    show.console.print(f"{rule} is silent on {queue or 'all queues'} until {until.astimezone():%Y-%m-%d %H:%M}")


@app.command()
def unsilence(rule: RuleArgument, queue: QueueOption = None) -> None:
    """Let a rule open alerts again."""
    _silences().end(rule, queue)
    show.console.print(f"{rule} is watched again on {queue or 'all queues'}")


def _silences() -> Silences:
    context = Context()
    names = {rule.name for rule in alert_setup(context.settings).rules} | RULES
    return Silences(local_operator(context.settings), OperatorLog(context.database), names)
