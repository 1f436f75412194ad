"""plugins:execute: run a plugin in its sandbox, and keep what it did if it succeeded."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError, TransientError
from teknav_ops.events.models import PluginExecuted
from teknav_ops.events.publish import publish
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.payloads.redaction import error_text
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.tables import Plugin, PluginExecutionLog, PluginKv
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services
from workers.services.plugin_host import Grant, PluginHost
from workers.services.plugin_sandbox import Usage

_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")

Context = JobContext[Services]


class UnknownPlugin(PermanentError):
    """There is no plugin of this name."""


class PluginDisabled(PermanentError):
    """The plugin is switched off; enable it, then replay."""


class PluginKvConflict(TransientError):
    """Another run wrote a key that this one had read; it runs again on what is there now."""


@processor("execute-plugin")
def execute_plugin(job: ExecutePlugin, ctx: Context) -> Mapping[str, Any]:
    """Run the plugin, then keep its writes, its log and its output in one transaction; a failed run keeps the log only.

    Runs twice safely: what a plugin writes waits until its run has succeeded and is kept together with the record of
    the effect, which a second run finds. Only what it fetches over HTTP may be asked twice.
    """
    if done := SqlEffects(ctx.services.database).find(ctx.job_id):
        return done
    usage = Usage()
    plugin: Plugin | None = None
    host: PluginHost | None = None
    try:
        plugin = _plugin(job, ctx)
        host = _host(plugin, ctx)
        output = ctx.services.plugins.run(
            plugin.module, plugin.sha256, frozenset(plugin.permissions), fuel=plugin.fuel,
            memory_bytes=plugin.memory_bytes, time_ms=plugin.time_ms, host=host, usage=usage,
            given={"event": job.event, "input": job.input},
        )  # fmt: skip
        summary = _keep(job, ctx, plugin, host, usage, output)
    except BaseException as error:
        # The end of the time limit is no Exception.
        with ctx.services.database.session() as session:
            _log(
                session,
                job,
                ctx,
                plugin,
                host,
                usage,
                status="failed",
                reason=reason_of(error),
                error=error_text(error),
            )
        raise
    _tell(job, ctx, usage)
    return summary


def _plugin(job: ExecutePlugin, ctx: Context) -> Plugin:
    with ctx.services.database.reading() as session:
        plugin = session.scalars(select(Plugin).where(Plugin.slug == job.plugin)).first()
    if plugin is None:
        raise UnknownPlugin(f"plugin: there is no {job.plugin!r}")
    if plugin.status != "enabled":
        raise PluginDisabled(f"{plugin.slug} is switched off")
    return plugin


def _host(plugin: Plugin, ctx: Context) -> PluginHost:
    grant = Grant(plugin.id, frozenset(plugin.permissions), frozenset(plugin.allowed_hosts))
    deadline = time.monotonic() + plugin.time_ms / 1000
    return PluginHost(grant, ctx.services.database, ctx.services.http, deadline=deadline)


def reason_of(error: BaseException) -> str:
    """The error's class in words, as filters like it: PluginOutOfFuel -> out_of_fuel."""
    return _WORD_START.sub("_", type(error).__name__.removeprefix("Plugin")).lower()[:40]


def _keep(
    job: ExecutePlugin, ctx: Context, plugin: Plugin, host: PluginHost, usage: Usage, output: dict[str, Any]
) -> Mapping[str, Any]:
    summary = {"plugin": plugin.slug, "version": plugin.version, "fuel_used": usage.fuel_used,
               "writes": len(host.writes), "output": _short(output)}  # fmt: skip
    with ctx.services.database.session() as session:
        for key, value in sorted(host.writes.items()):
            _write(session, plugin.id, key, value, host.versions[key])
        _log(session, job, ctx, plugin, host, usage, status="succeeded", output=output)
        record_effect(session, ctx.job_id, ctx.queue, summary)
    ctx.log.info("plugin.executed", plugin=plugin.slug, event_name=job.event, duration_ms=round(usage.duration_ms, 1))
    return summary


def _short(output: dict[str, Any]) -> Any:
    return output if len(json.dumps(output)) <= 2_000 else "see PluginExecutionLog"


def _write(session: Session, plugin_id: int, key: str, value: str, version: int) -> None:
    """Only over the version that the plugin has seen."""
    if version == 0:
        new = insert_into(session, PluginKv).values(plugin_id=plugin_id, key=key, value=value, version=1)
        done = session.execute(new.on_conflict_do_nothing().returning(PluginKv.key)).first()
    else:
        seen = (PluginKv.plugin_id == plugin_id, PluginKv.key == key, PluginKv.version == version)
        changed = update(PluginKv).where(*seen).values(value=value, version=version + 1, updated_at=utc_now())
        done = session.execute(changed.returning(PluginKv.key)).first()
    if done is None:
        raise PluginKvConflict(f"kv: another run wrote {key!r} meanwhile")


def _log(
    session: Session, job: ExecutePlugin, ctx: Context, plugin: Plugin | None, host: PluginHost | None, usage: Usage,
    **facts: Any,
) -> None:  # fmt: skip
    row = insert_into(session, PluginExecutionLog).values(
        job_id=ctx.job_id, delivery=ctx.delivery, attempt=ctx.attempt, plugin=job.plugin, event=job.event,
        version=plugin.version if plugin else None, fuel_used=usage.fuel_used, memory_bytes=usage.memory_bytes,
        duration_ms=round(usage.duration_ms, 2), host_calls=dict(host.calls) if host else None,
        log_lines=host.log_lines if host else None, at=utc_now(), **facts,
    )  # fmt: skip
    session.execute(row.on_conflict_do_nothing())


def _tell(job: ExecutePlugin, ctx: Context, usage: Usage) -> None:
    """Events are news, not records: one that gets lost is found in PluginExecutionLog."""
    event = PluginExecuted(
        at_ms=int(time.time() * 1000), queue=ctx.queue, job_id=ctx.job_id, plugin=job.plugin, event=job.event,
        duration_ms=round(usage.duration_ms, 1),
    )  # fmt: skip
    try:
        publish(ctx.services.redis, event, kept=ctx.services.settings.events_kept)
    except OUTAGE_ERRORS as error:
        ctx.log.warning("plugin.event_lost", error=error_text(error))
