"""plugins:execute: what may be installed, by whom, and what of it still counts at a run."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import wasmtime
from sqlalchemy import select, update

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import InvalidRequest, NotAllowed, PermanentError, WrongState
from teknav_ops.platform.plugin_module import BadModule, PermissionDenied
from teknav_ops.storage.tables import AuditLog, Plugin
from tests.workers.plugins_execute.conftest import ALL, FINE, IMPORTS, Bench, wat
from workers.plugins_execute import PluginDisabled, UnknownPlugin
from workers.services import Services
from workers.services.plugin_run import (
    PluginTrapped,
)
from workers.services.plugin_sandbox import PluginTampered


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


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (wat(FINE, memory="1000"), "cannot start within its limits: .*memory"),
        (wat(FINE, alloc="(i32.const -5)"), "alloc.64. answered 0xfffffffb"),
        (wat(FINE, alloc="unreachable"), "cannot start within its limits"),
        (wat(FINE).replace("(func $run", "(start $begin) (func $begin unreachable) (func $run"), "cannot start"),
        (wat(FINE).replace("(func $run", "(start $begin) (func $begin (loop $l (br $l))) (func $run"), "cannot start"),
        (wat(FINE).replace("i32.const 2048) ", "i32.const 99999999) "), "cannot start|out of bounds"),
    ],
    ids=["memory", "alloc", "alloc traps", "start traps", "start never ends", "data outside"],
)
def test_what_could_never_run_is_not_installed(bench: Bench, source: str, words: str) -> None:
    with pytest.raises(BadModule, match=words):
        bench.install(source)
    assert bench.control.plugins.installed() == []


def test_a_plugin_that_calls_its_host_as_it_starts_is_tried_without_effect(bench: Bench) -> None:
    start = "(start $begin) (func $begin (call $log (i32.const 0) (i32.const 1024) (i32.const 2))) (func $run"
    bench.install(wat(FINE, imports=IMPORTS).replace("(func $run", start), permissions=ALL)
    assert bench.log() == [] and bench.kv() == {}
    assert bench.run()["plugin"] == "p"


@pytest.mark.parametrize(
    ("body", "limits", "is_known"),
    [
        ("(loop $l (br $l))", {"fuel": 10_000_000_000, "time_ms": 100}, False),
        ("(loop $l (br $l))", {"fuel": 9_999}, True),
    ],
)
def test_fuel_is_told_only_where_it_is_known(bench: Bench, body: str, limits: dict[str, int], is_known: bool) -> None:
    bench.install(wat(f"{body} {FINE}"), limits=limits)
    with pytest.raises(PermanentError):
        bench.run()
    assert bench.log()[0].fuel_used == (9_999 if is_known else None)


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


@pytest.mark.each_database
def test_operators_install_and_switch_and_every_change_is_audited(
    services: Services, control: Control, bench: Bench, client: redis.Redis
) -> None:
    bench.install(wat(FINE))
    bench.install(wat("unreachable"), version="1.1.0")
    (plugin,) = control.plugins.installed()
    assert (plugin.version, plugin.installed_by, plugin.status) == ("1.1.0", "owner", "enabled")
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
