"""plugins:execute: whatever a plugin does, it ends in the log with its reason, and the worker lives."""

from __future__ import annotations

import gc
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import wasmtime

from teknav_ops.errors import PermanentError
from tests.support.http_receiver import HttpReceiver
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.workers.plugins_execute.conftest import ALL, FINE, IMPORTS, KEEP, SPIN, Bench, fetcher, wat
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
from workers.services.plugin_sandbox import PluginSandbox

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
    pytest.param(
        wat("(i64.const 0x000008000000000b)", data="{\\22a\\22:1e999}"), {}, PluginMisbehaved, "misbehaved",
        id="endless number",
    ),
    pytest.param(
        wat("(i64.const 0x0000080000000009)", data="{\\22a\\22:NaN}"), {}, PluginMisbehaved, "misbehaved",
        id="not a number",
    ),
    pytest.param(wat("(i64.const 0x0000080000000002)", data="[]"), {}, PluginMisbehaved, "misbehaved", id="no object"),
    pytest.param(
        wat(FINE, alloc="(select (i32.const 8192) (i32.const -5) (i32.eq (local.get 0) (i32.const 64)))"), {},
        PluginMisbehaved, "misbehaved", id="alloc out of memory",
    ),
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


def test_a_run_leaves_nothing_in_memory_however_it_ends(bench: Bench) -> None:
    bench.install(wat(f"{KEEP} {FINE}", imports=IMPORTS, data="keyval"), permissions=ALL)
    bench.install(fetcher("http://elsewhere.example/"), slug="forbidden", permissions=ALL)
    bench.run()
    with pytest.raises(HostNotAllowed):
        bench.run(plugin="forbidden")
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, PluginHost | PluginRun)] == []


def test_the_clock_never_touches_an_engine_that_is_being_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    # What earlier tests have left in cycles is collected here, not where this test collects its own.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
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
