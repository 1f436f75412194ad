"""plugins:execute: what a plugin fetches, keeps and tells, and what is left of it when it fails or its worker dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq.middleware import TimeLimitExceeded

from teknav_ops.outbound.addresses import AddressBlocked
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.redis_state.keys import EVENTS_CHANNEL
from teknav_ops.storage.tables import PluginKv
from tests.support import warm_python
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.waiting import until
from tests.workers.conftest import MakeServices
from tests.workers.plugins_execute.conftest import ALL, FINE, IMPORTS, KEEP, SPIN, Bench, fetcher, wat
from workers.plugins_execute import PluginKvConflict, execute_plugin
from workers.services.plugin_host import (
    HostNotAllowed,
    PluginTimedOut,
)
from workers.services.plugin_run import (
    PluginTrapped,
)
from workers.services.plugin_sandbox import PluginSandbox


@pytest.mark.each_database
def test_a_plugin_fetches_from_its_hosts_and_sees_errors_as_answers(bench: Bench, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(201, "خوب".encode()), Answer(delay_seconds=FOR_EVER)]
    bench.install(fetcher(f"{receiver.url}/x"), permissions=ALL, allowed_hosts=["127.0.0.1"])

    answer = bench.run()["output"]
    assert (answer["status"], answer["body"]) == (201, "خوب")
    assert receiver.requests[0].body.decode() == "سلام"
    bench.install(fetcher(f"{receiver.url}/x"), permissions=ALL, allowed_hosts=["127.0.0.1"], limits={"time_ms": 300})
    with pytest.raises(PluginTimedOut):
        # The host's own time counts: it ends at the plugin's limit.
        bench.run()
    bench.install(fetcher("http://127.0.0.1:9/"), permissions=ALL, allowed_hosts=["127.0.0.1"])
    assert bench.run()["output"]["error"].startswith("HostUnreachable")


def test_a_run_that_is_ended_by_its_jobs_time_limit_is_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.install(wat(FINE))

    def interrupted(*given: object, **more: object) -> None:
        raise TimeLimitExceeded

    monkeypatch.setattr(PluginSandbox, "run", interrupted)
    with pytest.raises(TimeLimitExceeded):
        bench.run()

    assert [(row.status, row.reason) for row in bench.log()] == [("failed", "time_limit_exceeded")]


@pytest.mark.each_database
def test_a_forbidden_host_and_a_private_address_end_the_run(
    bench: Bench, receiver: HttpReceiver, make_services: MakeServices
) -> None:
    bench.install(fetcher(f"{receiver.url}/x"), permissions=ALL, allowed_hosts=["api.example"])
    with pytest.raises(HostNotAllowed, match=r"127\.0\.0\.1"):
        bench.run()
    bench.install(fetcher(f"{receiver.url}/x"), permissions=ALL, allowed_hosts=["127.0.0.1"])
    bench.services = make_services(outbound_allowed_networks=[])
    with pytest.raises(AddressBlocked):
        bench.run()
    assert receiver.requests == [] and [e.reason for e in bench.log()] == ["host_not_allowed", "address_blocked"]


def test_writes_of_a_run_that_fails_are_not_kept(bench: Bench) -> None:
    bench.install(wat(f"{KEEP} unreachable", imports=IMPORTS, data="keyval"), permissions=ALL)
    with pytest.raises(PluginTrapped):
        bench.run()
    assert bench.kv() == {}
    reads = "(drop (call $kv_get (i32.const 2048) (i32.const 3)))"
    bench.install(wat(f"{KEEP} {reads} {FINE}", imports=IMPORTS, data="keyval"), permissions=ALL)
    bench.run()
    assert bench.kv() == {"key": "val"}


@pytest.mark.each_database
def test_a_key_that_another_run_wrote_meanwhile_is_not_overwritten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.install(wat(f"{KEEP} {FINE}", imports=IMPORTS, data="keyval"), permissions=ALL)
    sandbox, run = bench.services.plugins, bench.services.plugins.run

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        output = run(*args, **kwargs)
        with bench.services.database.session() as session:
            session.add(PluginKv(plugin_id=1, key="key", value="theirs", version=1))
        return output

    monkeypatch.setattr(sandbox, "run", overtaken)
    with pytest.raises(PluginKvConflict):
        bench.run("job-1")
    assert bench.kv() == {"key": "theirs"} and bench.log()[0].reason == "kv_conflict"
    monkeypatch.setattr(sandbox, "run", run)
    ctx = bench._make_context("job-1", delivery=2, services=bench.services)
    execute_plugin(ExecutePlugin(plugin="p", event="a.b"), ctx)
    assert bench.kv() == {"key": "val"}


def test_a_plugin_has_only_so_many_keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.services.plugin_host._KEY_COUNT_LIMIT", 1)
    both = (
        KEEP
        + KEEP.replace("i32.const 2048", "i32.const 2054")
        .replace("drop", "i32.eqz")
        .replace("(i32.eqz", "(if (i32.eqz")
        + " (then unreachable))"
    )
    bench.install(wat(f"{both} {FINE}", imports=IMPORTS, data="keyvalnew"), permissions=ALL)
    bench.run()
    assert bench.kv() == {"key": "val"}


def test_what_ran_is_news_on_the_events_channel(bench: Bench, client: redis.Redis) -> None:
    listener = client.pubsub()
    listener.subscribe(EVENTS_CHANNEL)
    listener.get_message(timeout=45)
    bench.install(wat(FINE))
    bench.run()
    message = listener.get_message(timeout=45)
    listener.close()
    assert message is not None
    event = json.loads(message["data"])
    assert (event["type"], event["plugin"], event["event"]) == ("plugin.executed", "p", "article.published")


JOB = """
import os, sys, structlog
from teknav_ops.engine.processor import JobContext
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.settings import Settings
from workers.plugins_execute import execute_plugin
from workers.services import open_services
services = open_services(Settings(database_url=sys.argv[1], redis_url=sys.argv[2],
                                  outbound_allowed_networks=["127.0.0.0/8"]))
def run(job_id, plugin):
    ctx = JobContext(job_id=job_id, queue="plugins:execute", name="execute-plugin", attempt=1, delivery=1, trace_id="",
                     services=services, log=structlog.get_logger())
    return execute_plugin(ExecutePlugin(plugin=plugin, event="a.b", input={"article_id": 1, "terms": []}), ctx)
if sys.argv[3] == "fork":
    run("before", "p")
    services.database.dispose()
    child = os.fork()
    if child == 0:
        try:
            run("spin", "spin")
        except Exception as error:
            os._exit(7 if type(error).__name__ == "PluginTimedOut" else 1)
        os._exit(2)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
run("killed", "spin")
"""


def start(bench: Bench, how: str) -> subprocess.Popen[bytes]:
    settings = bench.services.settings
    assert settings.database_url is not None
    command = [sys.executable, "-c", JOB, settings.database_url.get_secret_value(), str(settings.redis_url), how]
    return warm_python.Process(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=dict(os.environ))


def test_the_clock_runs_in_a_forked_process_too(bench: Bench) -> None:
    bench.install(wat(FINE))
    bench.install(SPIN, slug="spin", limits={"fuel": 10_000_000_000, "time_ms": 200})
    process = start(bench, "fork")
    assert process.wait(60) == 7
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.each_database
def test_a_job_killed_while_its_plugin_runs_leaves_nothing_and_runs_again(bench: Bench, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(delay_seconds=FOR_EVER)]
    bench.install(
        fetcher(receiver.url, KEEP, "keyval"), slug="spin", permissions=ALL, allowed_hosts=["127.0.0.1"]
    )  # fmt: skip
    process = start(bench, "kill")
    until(lambda: len(receiver.requests) == 1, what="the plugin's request")
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert bench.kv() == {} and bench.log() == []

    bench.install(wat(f"{KEEP} {FINE}", imports=IMPORTS, data="keyval"), slug="spin", permissions=ALL)
    bench.run("killed", plugin="spin")
    assert bench.kv() == {"key": "val"}
