"""plugins:execute: whatever a plugin does, it ends in the log with its reason, and the worker lives."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis
import wasmtime
from sqlalchemy import select, update

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import InvalidRequest, NotAllowed, PermanentError, WrongState
from teknav_ops.outbound.addresses import AddressBlocked
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.platform.plugin_module import BadModule, PermissionDenied
from teknav_ops.redis_state.keys import EVENTS_CHANNEL
from teknav_ops.storage.tables import Article, AuditLog, Plugin, PluginExecutionLog, PluginKv
from tests.support import warm_python
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.workers.conftest import MakeContext, MakeServices
from workers.plugins_execute import PluginDisabled, PluginKvConflict, UnknownPlugin, execute_plugin
from workers.services import Services
from workers.services.plugin_host import (
    HostNotAllowed,
    PluginHost,
    PluginHostCallLimit,
    PluginMisbehaved,
    PluginTimedOut,
)
from workers.services.plugin_run import (
    PluginOutOfFuel,
    PluginOutOfMemory,
    PluginOutputTooLarge,
    PluginRun,
    PluginStackOverflow,
    PluginTrapped,
)
from workers.services.plugin_sandbox import PluginSandbox, PluginTampered

SAMPLES = Path(str(resources.files("teknav_ops.sample_content").joinpath("plugins")))
ALL = ["log", "article:read", "kv:read", "kv:write", "http:fetch"]
IMPORTS = """
  (import "teknav" "log" (func $log (param i32 i32 i32)))
  (import "teknav" "kv_get" (func $kv_get (param i32 i32) (result i64)))
  (import "teknav" "kv_set" (func $kv_set (param i32 i32 i32 i32) (result i32)))
  (import "teknav" "http_fetch" (func $http_fetch (param i32 i32) (result i64)))
  (import "teknav" "article_read" (func $article_read (param i64) (result i64)))
"""
FINE = "(i64.const 0x0000040000000002)"  # The two bytes at 1024: {}


def wat(body: str, *, imports: str = "", data: str = "", alloc: str = "(i32.const 8192)", memory: str = "1") -> str:
    """A module whose `run` is `body`; `{}` lies at 1024 and `data` at 2048."""
    return f"""(module {imports} (memory (export "memory") {memory})
      (data (i32.const 1024) "{{}}") (data (i32.const 2048) "{data}")
      (func (export "alloc") (param i32) (result i32) {alloc})
      (func $run (export "run") (param i32 i32) (result i64) {body}))"""


@pytest.fixture
def control(services: Services, client: redis.Redis) -> Control:
    return Control(
        client, Operator("sara", Role.OWNER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip


class Bench:
    """Installs a module and runs it."""

    def __init__(self, services: Services, control: Control, make_context: MakeContext) -> None:
        self.services, self.control, self._make_context = services, control, make_context

    def install(self, source: str | bytes, **facts: Any) -> None:
        limits = {"fuel": 20_000_000, "memory_bytes": 1_048_576, "time_ms": 30_000, **facts.pop("limits", {})}
        manifest = {"slug": "p", "version": "1.0.0", "name": "P", "limits": limits, **facts}
        self.control.plugins.install(source.encode() if isinstance(source, str) else source, manifest)

    def run(self, job_id: str | None = None, *, plugin: str = "p", **given: Any) -> Any:
        ctx = self._make_context(job_id, services=self.services)
        return execute_plugin(ExecutePlugin(plugin=plugin, event="article.published", input=given), ctx)

    def log(self) -> list[PluginExecutionLog]:
        with self.services.database.reading() as session:
            return list(session.scalars(select(PluginExecutionLog).order_by(PluginExecutionLog.id)))

    def kv(self) -> dict[str, str]:
        with self.services.database.reading() as session:
            return {row.key: row.value for row in session.scalars(select(PluginKv))}


@pytest.fixture
def bench(services: Services, control: Control, make_context: MakeContext) -> Bench:
    return Bench(services, control, make_context)


def install_sample(bench: Bench, slug: str) -> None:
    folder = SAMPLES / slug
    bench.control.plugins.install(
        (folder / "plugin.wasm").read_bytes(), json.loads((folder / "manifest.json").read_text())
    )


@pytest.mark.parametrize(
    ("text", "words", "minutes"),
    [("", 0, 0), ("one", 1, 1), ("سلام دنیا\nمی‌نویسیم", 3, 1), ('a "b" c\\d\te', 4, 1), ("w " * 401, 401, 3)],
)
def test_the_sample_in_wat_counts_words(bench: Bench, text: str, words: int, minutes: int) -> None:
    install_sample(bench, "reading-time")
    assert bench.run(plugin="reading-time", text=text)["output"] == {"words": words, "minutes": minutes}


def test_the_samples_module_is_what_its_source_gives() -> None:
    folder = SAMPLES / "reading-time"
    assert bytes(wasmtime.wat2wasm((folder / "plugin.wat").read_text())) == (folder / "plugin.wasm").read_bytes()


@pytest.mark.each_database
def test_the_sample_in_rust_reads_an_article_and_remembers(bench: Bench) -> None:
    with bench.services.database.session() as session:
        words = {"title": "صف", "body": 'صف نامه‌ها و صفِ «کار»، a Queue.\n"صف"', "author": "T", "tags": []}
        session.add(Article(id=7, slug="a", language="fa", status="published", **words))
    install_sample(bench, "term-counter")
    asked = {"article_id": 7, "terms": ["صف", "queue", "نیست"]}

    first = bench.run("job-1", plugin="term-counter", **asked)
    assert first["output"] == {"article_id": 7, "counts": {"صف": 3, "queue": 1, "نیست": 0}, "asked": 1}
    assert bench.run("job-1", plugin="term-counter", **asked) == first
    assert bench.run("job-2", plugin="term-counter", **asked)["output"]["asked"] == 2
    assert bench.kv() == {"asked:7": "2"}
    entry = bench.log()[0]
    assert (entry.status, entry.host_calls) == ("succeeded", {"article_read": 1, "kv_get": 1, "kv_set": 1, "log": 1})
    assert entry.log_lines == [{"level": "info", "text": "counted 3 terms in article 7"}]
    assert entry.fuel_used and entry.memory_bytes and entry.duration_ms
    assert bench.run(plugin="term-counter", article_id=9, terms=[])["output"] == {"error": "there is no article 9"}


@pytest.mark.parametrize(("slug", "error"), [("runaway", PluginOutOfFuel), ("glutton", PluginOutOfMemory)])
def test_the_samples_that_misbehave_are_stopped(bench: Bench, slug: str, error: Any) -> None:
    folder = SAMPLES / slug
    manifest = json.loads((folder / "manifest.json").read_text())
    bench.control.plugins.install((folder / "plugin.wat").read_bytes(), manifest)
    with pytest.raises(error):
        bench.run(plugin=slug)


SPIN = wat(f"(loop $l (br $l)) {FINE}")
BOMBS = [
    pytest.param(SPIN, {}, PluginOutOfFuel, "out_of_fuel", id="endless loop"),
    pytest.param(
        SPIN, {"limits": {"fuel": 10_000_000_000, "time_ms": 300}}, PluginTimedOut, "timed_out",
        id="endless loop, much fuel",
    ),
    pytest.param(
        wat("(loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable"), {},
        PluginOutOfMemory, "out_of_memory", id="memory bomb",
    ),
    pytest.param(wat(FINE, memory="1000"), {}, PluginOutOfMemory, "out_of_memory", id="too much memory at once"),
    pytest.param(
        wat("(call $run (local.get 0) (local.get 1))"), {}, PluginStackOverflow, "stack_overflow", id="stack overflow"
    ),
    pytest.param(wat("unreachable"), {}, PluginTrapped, "trapped", id="trap"),
    pytest.param(wat("(i64.const 0x0000000000100000)"), {}, PluginOutputTooLarge, "output_too_large", id="huge output"),
    pytest.param(wat("(i64.const 0x7fffffff00000010)"), {}, PluginMisbehaved, "misbehaved", id="answer out of memory"),
    pytest.param(wat("(i64.const -1)"), {}, PluginOutputTooLarge, "output_too_large", id="answer of minus one"),
    pytest.param(wat("(i64.const 0x0000080000000004)", data="nope"), {}, PluginMisbehaved, "misbehaved", id="no JSON"),
    pytest.param(
        wat("(i64.const 0x0000080000000002)", data="\\ff\\fe"), {}, PluginMisbehaved, "misbehaved", id="no UTF-8"
    ),
    pytest.param(wat("(i64.const 0x0000080000000002)", data="[]"), {}, PluginMisbehaved, "misbehaved", id="no object"),
    pytest.param(wat(FINE, alloc="(i32.const -5)"), {}, PluginMisbehaved, "misbehaved", id="alloc out of memory"),
    pytest.param(
        wat("(call $log (i32.const 1) (i32.const 65000) (i32.const 60000)) " + FINE, imports=IMPORTS),
        {"permissions": ALL}, PluginMisbehaved, "misbehaved", id="pointer out of memory",
    ),
    pytest.param(
        wat("(call $log (i32.const 1) (i32.const 0) (i32.const -1)) " + FINE, imports=IMPORTS),
        {"permissions": ALL}, PluginMisbehaved, "misbehaved", id="length of minus one",
    ),
    pytest.param(
        wat("(loop $l (call $log (i32.const 1) (i32.const 1024) (i32.const 2)) (br $l)) " + FINE, imports=IMPORTS),
        {"permissions": ALL}, PluginHostCallLimit, "host_call_limit", id="flood of host calls",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "manifest", "error", "reason"), BOMBS)
def test_every_misdeed_ends_in_the_log_and_the_next_plugin_runs(
    bench: Bench, source: str, manifest: dict[str, Any], error: Any, reason: str
) -> None:
    bench.install(source, **manifest)
    with pytest.raises(error) as raised:
        bench.run()

    assert isinstance(raised.value, PermanentError)
    (entry,) = bench.log()
    assert (entry.status, entry.reason, entry.output) == ("failed", reason, None)
    assert entry.error and len(entry.log_lines or []) <= 100
    bench.install(wat(FINE))
    assert bench.run()["output"] == {}


@pytest.mark.parametrize(
    ("source", "permissions", "words"),
    [
        (wat(FINE, imports=IMPORTS), ["log"], "kv_get, which needs the permission kv:read"),
        (wat(FINE, imports='(import "teknav" "shell" (func))'), ALL, "teknav.shell, which no permission grants"),
        (wat(FINE, imports='(import "wasi_snapshot_preview1" "fd_write" (func))'), ALL, "no permission grants"),
        (wat(FINE, imports='(import "env" "f" (func))'), ALL, r"env\.f"),
    ],
)  # fmt: skip
def test_what_was_not_granted_cannot_be_installed(
    bench: Bench, source: str, permissions: list[str], words: str
) -> None:
    with pytest.raises(PermissionDenied, match=words):
        bench.install(source, permissions=permissions)
    assert bench.control.plugins.installed() == []


def test_a_permission_taken_away_afterwards_counts_at_the_next_run(bench: Bench) -> None:
    bench.install(wat(FINE, imports=IMPORTS), permissions=ALL)
    with bench.services.database.session() as session:
        session.execute(update(Plugin).values(permissions=["log"]))
    with pytest.raises(PermissionDenied):
        bench.run()
    assert bench.log()[0].reason == "permission_denied"


def test_a_tampered_module_is_not_run(bench: Bench) -> None:
    bench.install(wat(FINE))
    other = bytes(wasmtime.wat2wasm(wat("unreachable")))
    with bench.services.database.session() as session:
        session.execute(update(Plugin).values(module=other))
    with pytest.raises(PluginTampered):
        bench.run()
    assert bench.log()[0].reason == "tampered"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"\0asm broken", "module: "),
        (b"not wasm at all", "neither WebAssembly nor its text form"),
        (b"\xff\xfe", "neither"),
        (b"(module)", "must export its memory"),
        (b'(module (memory (export "memory") 1))', r"must export alloc\('i32',\) -> \('i32',\)"),
        (wat(FINE).replace("(result i64)", "(result i32)").replace(FINE, "(i32.const 0)").encode(), "must export run"),
        (b"\0asm" + b"x" * 5_000_000, "over the limit of"),
        (wat(FINE, imports='(import "teknav" "log" (func (param i64)))').encode(), "signature"),
    ],
)
def test_what_is_no_plugin_cannot_be_installed(bench: Bench, source: bytes, words: str) -> None:
    with pytest.raises(BadModule, match=words):
        bench.install(source, permissions=ALL)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"slug": "No Slug"}, "slug"), ({"version": "one"}, "version"), ({"permissions": ["root"]}, "permissions"),
        ({"limits": {"time_ms": 10**6}}, "limits.time_ms"), ({"allowed_hosts": ["x.example"]}, "allowed_hosts"),
        ({"surprise": 1}, "surprise"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_refused_with_its_field(bench: Bench, facts: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"manifest: .*{field}"):
        bench.install(wat(FINE), **facts)


def fetcher(url: str, before: str = "", data: str = "") -> str:
    """Does what stands in `before`, with its `data`, then fetches."""
    request = json.dumps({"method": "POST", "url": url, "body": "سلام"}, ensure_ascii=False).encode()
    escaped = data + "".join(f"\\{byte:02x}" for byte in request)
    call = f"(call $http_fetch (i32.const {2048 + len(data)}) (i32.const {len(request)}))"
    return wat(before + call, imports=IMPORTS, data=escaped)


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


KEEP = "(drop (call $kv_set (i32.const 2048) (i32.const 3) (i32.const 2051) (i32.const 3)))"


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


def test_plugins_run_at_once_and_time_is_counted_for_each(
    bench: Bench, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer, answer = threading.Event(), receiver.answer

    def answer_late(handler: Any, request: Any) -> None:
        assert may_answer.wait(60)
        answer(handler, request)

    monkeypatch.setattr(receiver, "answer", answer_late)
    begun: list[str] = []
    bench.install(fetcher(f"{receiver.url}/x"), slug="waits", permissions=ALL, allowed_hosts=["127.0.0.1"])
    bench.install(SPIN, slug="spins", limits={"fuel": 10_000_000_000, "time_ms": 200})
    bench.install(wat(FINE))

    def wait_for_answer() -> int:
        begun.append("a run")
        return int(bench.run(plugin="waits")["output"]["status"])

    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(wait_for_answer) for _ in range(2)]
        until(lambda: len(begun) == 2)
        assert bench.run()["output"] == {}
        with pytest.raises(PluginTimedOut):
            bench.run(plugin="spins")
        assert not any(run.done() for run in waiting)
        may_answer.set()
        assert [run.result(60) for run in waiting] == [200, 200]


@pytest.mark.each_database
def test_runs_at_the_same_time_end_each_for_its_own_reason(bench: Bench) -> None:
    forbidden = fetcher("http://elsewhere.example/")
    bench.install(forbidden, slug="forbidden", permissions=ALL)
    bench.install(wat("unreachable"), slug="stops")
    endings: dict[str, set[str]] = {"forbidden": set(), "stops": set()}

    def run_often(plugin: str) -> None:
        for _ in range(scaled(40)):
            try:
                bench.run(plugin=plugin)
            except PermanentError as error:
                endings[plugin].add(type(error).__name__)

    threads = [threading.Thread(target=run_often, args=(plugin,)) for plugin in endings for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endings == {"forbidden": {"HostNotAllowed"}, "stops": {"PluginTrapped"}}


def test_a_run_leaves_nothing_in_memory_however_it_ends(bench: Bench) -> None:
    bench.install(wat(f"{KEEP} {FINE}", imports=IMPORTS, data="keyval"), permissions=ALL)
    bench.install(fetcher("http://elsewhere.example/"), slug="forbidden", permissions=ALL)
    bench.run()
    with pytest.raises(HostNotAllowed):
        bench.run(plugin="forbidden")
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, PluginHost | PluginRun)] == []


def test_the_clock_never_touches_an_engine_that_is_being_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    delete, tick = wasmtime.Engine._delete, wasmtime.Engine.increment_epoch
    own: set[int] = set()
    going: set[int] = set()
    ticks: list[int] = []
    touched: list[int] = []
    of_others = set(threading.enumerate())

    def clocks() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "plugin-clock"} - of_others

    def delete_slowly(engine: wasmtime.Engine, pointer: Any) -> None:
        if id(engine) not in own:  # one that an earlier test has left to be collected
            delete(engine, pointer)
            return
        going.add(id(engine))
        # Long enough for a clock that is not this thread to come round.
        until(lambda: touched or not clocks() - {threading.current_thread()})
        going.discard(id(engine))
        delete(engine, pointer)

    def watched(engine: wasmtime.Engine) -> None:
        if id(engine) in going:
            touched.append(id(engine))
        else:
            ticks.append(id(engine))
            tick(engine)

    monkeypatch.setattr(wasmtime.Engine, "_delete", delete_slowly)
    monkeypatch.setattr(wasmtime.Engine, "increment_epoch", watched)
    sandbox = PluginSandbox()
    engine = id(sandbox._running_engine())
    own.add(engine)
    until(lambda: ticks.count(engine) > 2)
    del sandbox
    gc.collect()
    until(lambda: not clocks())
    assert touched == [] and going == set()


@pytest.mark.each_database
def test_an_unknown_and_a_disabled_plugin(bench: Bench) -> None:
    with pytest.raises(UnknownPlugin):
        bench.run(plugin="nobody")
    bench.install(wat(FINE))
    bench.control.plugins.disable("p")
    with pytest.raises(PluginDisabled):
        bench.run()
    assert [entry.reason for entry in bench.log()] == ["unknown_plugin", "disabled"]
    bench.control.plugins.enable("p")
    assert bench.run()["output"] == {}


def test_what_ran_is_news_on_the_events_channel(bench: Bench, client: redis.Redis) -> None:
    listener = client.pubsub()
    listener.subscribe(EVENTS_CHANNEL)
    listener.get_message(timeout=1)
    bench.install(wat(FINE))
    bench.run()
    message = listener.get_message(timeout=2)
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


@pytest.mark.each_database
def test_operators_install_and_switch_and_every_change_is_audited(
    services: Services, control: Control, bench: Bench, client: redis.Redis
) -> None:
    bench.install(wat(FINE))
    bench.install(wat("unreachable"), version="1.1.0")
    (plugin,) = control.plugins.installed()
    assert (plugin.version, plugin.installed_by, plugin.status) == ("1.1.0", "sara", "enabled")
    with pytest.raises(WrongState):
        control.plugins.enable("p")
    with pytest.raises(InvalidRequest, match="there is no 'x'"):
        control.plugins.disable("x")
    with pytest.raises(PluginTrapped):
        bench.run()
    assert [(run.reason, run.version) for run in control.plugins.executions("p")] == [("trapped", "1.1.0")]
    viewer = Control(
        client, Operator("reza", Role.VIEWER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        viewer.plugins.disable("p")
    with services.database.reading() as session:
        entries = [
            tuple(entry) for entry in session.execute(select(AuditLog.action, AuditLog.outcome).order_by(AuditLog.id))
        ]
    assert entries[:2] == [("plugin.installed", "done")] * 2 and ("plugin.enabled", "refused") in entries
