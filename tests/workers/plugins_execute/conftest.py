"""Plugins written in WebAssembly text, installed and run by hand."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from teknav_ops.control import Control
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.storage.tables import PluginExecutionLog, PluginKv
from tests.workers.conftest import MakeContext
from workers.plugins_execute import execute_plugin
from workers.services import Services

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


SPIN = wat(f"(loop $l (br $l)) {FINE}")


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


KEEP = "(drop (call $kv_set (i32.const 2048) (i32.const 3) (i32.const 2051) (i32.const 3)))"


def fetcher(url: str, before: str = "", data: str = "") -> str:
    """Does what stands in `before`, with its `data`, then fetches."""
    request = json.dumps({"method": "POST", "url": url, "body": "سلام"}, ensure_ascii=False).encode()
    escaped = data + "".join(f"\\{byte:02x}" for byte in request)
    call = f"(call $http_fetch (i32.const {2048 + len(data)}) (i32.const {len(request)}))"
    return wat(before + call, imports=IMPORTS, data=escaped)
