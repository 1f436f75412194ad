"""`teknav doctor`: is everything in place, and if not, what to do."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from teknav_ops.alerts.rules import NEARLY_FULL
from teknav_ops.alerts.setup import alert_setup
from teknav_ops.cli import show
from teknav_ops.cli.audit_finding import audit_finding
from teknav_ops.cli.context import Context
from teknav_ops.cli.finding import Finding
from teknav_ops.cli.keys import finding as keys_finding
from teknav_ops.cli.options import JsonOption
from teknav_ops.cli.settings_findings import disk_finding, files_finding, settings_finding
from teknav_ops.errors import TekNavError
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.metrics.scheduler_state import read_scheduler
from teknav_ops.outbound.addresses import ANYWHERE
from teknav_ops.outbound.http import OutboundHttp
from teknav_ops.outbound.mail import SmtpMailer, open_mailer
from teknav_ops.payloads.redaction import error_text
from teknav_ops.platform.ai_prices import find_price, idle_limits
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.redis_state.server_clock import read_clock
from teknav_ops.reports.cron import Cron
from teknav_ops.reports.desk import require_extra
from teknav_ops.reports.schedules import schedules_of
from teknav_ops.storage.schema import current_revision, head_revision
from teknav_ops.topology import TOPOLOGY

#: The scripts say in their first line how they may be run; older servers do not read that.
_OLDEST_REDIS: Final = 7
_CLOCK_LIMIT_MS: Final = 5_000
_REACH_SECONDS: Final = 5.0
_SMS_REMEDY: Final = "Check TEKNAV_SMS_URL, TEKNAV_SMS_TOKEN and that the gateway runs."
_WAIT: Final = "It takes some seconds: look again in a moment, or into the logs of the data folder."
_TROUBLE: tuple[type[Exception], ...] = (TekNavError, DBAPIError, *OUTAGE_ERRORS)


def doctor(json_output: JsonOption = False) -> None:
    """Check Redis, SQL, AI, mail, SMS, versions and settings, and say what to do."""
    findings = list(examine(Context()))
    if json_output:
        show.as_json(findings)
    for finding in findings if not json_output else ():
        mark = "[green]ok  [/green]" if finding.is_well else "[red]bad [/red]"
        show.console.print(f"{mark} [bold]{finding.check:<9}[/bold] ", end="")
        show.console.print(
            finding.seen + ("" if finding.is_well else f"\n               {finding.remedy}"), markup=False
        )
    raise typer.Exit(0 if all(finding.is_well for finding in findings) else 1)


def examine(context: Context) -> Iterator[Finding]:
    """All checks in the order in which they depend on each other."""
    yield _versions()
    yield settings_finding(context)
    if not _has_settings(context):
        return
    yield files_finding(context)
    yield _guarded("disk", lambda: disk_finding(context), "Check the folders that TEKNAV_DATA_DIR and others name.")
    yield _guarded("alerts", lambda: _alerts(context), "Correct the named TEKNAV_ALERT_ variable; see docs/alerts.md.")
    yield _guarded("reports", lambda: _reports(context), "Correct TEKNAV_REPORT_SCHEDULES; see docs/reports.md.")
    yield _guarded("ai", lambda: _ai(context), "Check TEKNAV_AI_BASE_URL, TEKNAV_AI_API_KEY and that the server runs.")
    yield _guarded("mail", lambda: _mail(context), "Check TEKNAV_SMTP_URL and that the server runs.")
    yield _guarded("sms", lambda: _sms(context), _SMS_REMEDY)
    yield _guarded("redis", lambda: _redis(context), "Start it with `teknav up`, or set TEKNAV_REDIS_URL.")
    yield _guarded("clock", lambda: _clock(context), "Start Redis first.")
    yield _guarded("database", lambda: _database(context), "Check TEKNAV_DATABASE_URL and that the server runs.")
    yield _guarded("audit", lambda: audit_finding(context), "Run `teknav db upgrade`, then `teknav audit verify`.")
    yield _guarded("keys", lambda: keys_finding(context), "Start Redis and the database first.")
    yield _guarded("scheduler", lambda: _scheduler(context), "Start Redis first.")
    yield _guarded("workers", lambda: _workers(context), "Start Redis first.")
    yield _guarded("jobs", lambda: _jobs(context), "Start Redis first.")


def _has_settings(context: Context) -> bool:
    """Without settings nothing else can be looked at."""
    try:
        return context.settings is not None
    except ValidationError:
        return False


def _guarded(check: str, look: Callable[[], Finding], remedy: str) -> Finding:
    try:
        return look()
    except _TROUBLE as error:
        return Finding(check, False, str(error), remedy)
    except Exception as error:
        # Of a library that was given what it cannot use: the other checks go on.
        return Finding(check, False, f"{type(error).__name__}: {error_text(error)}", remedy)


def _versions() -> Finding:
    found = []
    for package in ("teknav-ops", "dramatiq", "redis", "sqlalchemy", "pydantic"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return Finding("versions", False, f"{package} is not installed", "Run `make install`.")
    is_well = sys.version_info >= (3, 11)
    return Finding("versions", is_well, f"Python {platform.python_version()}, " + ", ".join(found), "Use Python 3.11+.")


def _alerts(context: Context) -> Finding:
    return Finding("alerts", True, alert_setup(context.settings).words)


def _ai(context: Context) -> Finding:
    settings = context.settings
    if settings.ai_base_url is None or settings.ai_model is None:
        is_half = settings.ai_base_url != settings.ai_model
        seen = "no model: summaries and keywords are extracted, drafts and translations fail as ProviderNotConfigured"
        return Finding("ai", not is_half, seen, "Set TEKNAV_AI_BASE_URL and TEKNAV_AI_MODEL, or neither.")
    found = list(idle_limits(settings, find_price(settings, settings.ai_model)))
    seen = "; ".join(
        [f"{settings.ai_model} at {urlsplit(settings.ai_base_url).netloc}", *(words for words, _ in found)]
    )
    if any(is_fault for _, is_fault in found):
        return Finding(
            "ai", False, seen, "Set TEKNAV_AI_INPUT_USD_PER_MILLION and …_OUTPUT_… (0 for a model of your own), or "
            "correct the named limit.",
        )  # fmt: skip
    key = settings.ai_api_key.get_secret_value() if settings.ai_api_key else "none"
    answer = OutboundHttp(allowed_networks=ANYWHERE).request(
        "GET", f"{settings.ai_base_url.rstrip('/')}/models", headers={"authorization": f"Bearer {key}"},
        timeout_seconds=_REACH_SECONDS,
    )  # fmt: skip
    is_refused = answer.status in (401, 403) or answer.status >= 500
    return Finding("ai", not is_refused, f"{seen}, answers {answer.status}", "Check TEKNAV_AI_API_KEY and the server.")


def _mail(context: Context) -> Finding:
    mailer = open_mailer(context.settings)
    place = "mails are written into the outbox"
    if isinstance(mailer, SmtpMailer):
        place = mailer.reach(timeout_seconds=_REACH_SECONDS)
    return Finding("mail", True, f"{place}, from {context.settings.mail_from}")


def _sms(context: Context) -> Finding:
    settings = context.settings
    if settings.sms_url is None:
        return Finding("sms", True, "messages are written into the outbox")
    # Any answer will do but one that refuses the token: a gateway need not know HEAD.
    token = settings.sms_token.get_secret_value() if settings.sms_token else ""
    answer = OutboundHttp(allowed_networks=ANYWHERE).request(
        "HEAD",
        settings.sms_url,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout_seconds=_REACH_SECONDS,
    )
    seen = f"messages are posted to {urlsplit(settings.sms_url).netloc}, which answers {answer.status}"
    return Finding("sms", answer.status != 401, seen, _SMS_REMEDY)


def _reports(context: Context) -> Finding:
    timed = [schedule for schedule in schedules_of(context.settings) if schedule.cron]
    for schedule in timed:
        Cron(schedule.cron or "", context.settings.site_time_zone)
    if timed:
        require_extra()
    return Finding("reports", True, f"{len(timed)} scheduled, notebooks in {context.settings.notebooks_root}")


def _redis(context: Context) -> Finding:
    facts = context.client.info()
    kind, number = ("Valkey", "valkey_version") if "valkey_version" in facts else ("Redis", "redis_version")
    used, limit = int(facts["used_memory"]), int(facts.get("maxmemory", 0))
    filled = f"{used / limit:.0%} of {limit / 2**20:,.0f} MiB used" if limit else f"{used / 2**20:,.0f} MiB used"
    seen = f"{kind} {facts[number]}, {filled}"
    for is_wrong, words, remedy in _redis_troubles(facts, used, limit):
        if is_wrong:
            return Finding("redis", False, f"{seen}, {words}", remedy)
    return Finding("redis", True, f"{seen}, append-only file on")


def _redis_troubles(facts: dict[str, Any], used: int, limit: int) -> list[tuple[bool, str, str]]:
    """What may be wrong with the server, the worst first."""
    policy = facts.get("maxmemory_policy", "noeviction")
    cannot_save = "err" in (facts.get("rdb_last_bgsave_status"), facts.get("aof_last_write_status"))
    is_old = int(str(facts["redis_version"]).split(".")[0]) < _OLDEST_REDIS
    return [
        (is_old, "which is too old", f"Use Redis {_OLDEST_REDIS} or newer, or Valkey."),
        (policy != "noeviction", f"maxmemory-policy {policy}: it may drop jobs", "Set it to noeviction."),
        (cannot_save, "cannot write to its disk", "Make room on the server's disk; its log says what failed."),
        (limit > 0 and used > NEARLY_FULL * limit, "nearly full: then it takes no new job",
         "Raise maxmemory, or let workers and the audit writer catch up; docs/runbook/alerts/RedisMemory.md."),
        (not facts.get("aof_enabled"), "append-only file off",
         "Set appendonly yes, or a crash of the server loses jobs."),
    ]  # fmt: skip


def _clock(context: Context) -> Finding:
    clock = read_clock(context.client)
    seen = f"the server's is {clock.difference_ms / 1000:+,.1f} s from this machine's"
    jumped = f", and was set by {clock.jump_ms / 1000:+,.0f} s within the last day" if clock.jump_ms else ""
    remedy = "Let NTP keep both, and slew instead of step; docs/runbook/alerts/ServerClock.md says what a jump does."
    is_well = abs(clock.difference_ms) <= _CLOCK_LIMIT_MS and not jumped
    return Finding("clock", is_well, seen + jumped, remedy)


def _database(context: Context) -> Finding:
    current, head = current_revision(context.settings.sql_url), head_revision()
    kind = "SQLite" if context.database.is_sqlite else "PostgreSQL"
    return Finding(
        "database", current == head, f"{kind}, schema {current or 'empty'} of {head}", "Run `teknav db upgrade`."
    )


def _scheduler(context: Context) -> Finding:
    state = read_scheduler(context.client, TOPOLOGY)
    if state == "publishes":
        return Finding("scheduler", True, "publishes figures")
    if state == "starting":
        return Finding("scheduler", False, "is starting, nothing published yet", _WAIT)
    return Finding("scheduler", False, "none runs", "Run `teknav up`, or `python -m teknav_ops.runtime.scheduler`.")


def _workers(context: Context) -> Finding:
    counts = context.jobs.all_counts()
    without = [name for name in TOPOLOGY if counts[name].workers == 0]
    if without:
        remedy = _WAIT if context.client.exists(keys.STARTING) else "Run `dramatiq workers -p 1`."
        return Finding("workers", False, f"no worker serves {', '.join(without)}", remedy)
    return Finding("workers", True, f"{max(c.workers for c in counts.values())} processes")


def _jobs(context: Context) -> Finding:
    stuck = WorkerQueries(context.client, TOPOLOGY).stuck()
    jobs = ", ".join(f"{job.name} {job.job_id} on {job.worker}" for job in stuck[:3])
    remedy = "See where with `teknav jobs show ID`; docs/runbook/alerts/StuckJobs.md."
    if stuck:
        return Finding("jobs", False, f"{len(stuck)} stuck past their time limit: {jobs}", remedy)
    return Finding("jobs", True, "none is stuck past its time limit")
