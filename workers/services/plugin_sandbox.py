"""Runs WebAssembly of others: bounded in instructions, time, memory, depth and output, and asking only what it may."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import PermanentError
from teknav_ops.platform.plugin_module import INSTANCE_LIMITS, compile_module, new_engine, sha256_of
from workers.services.plugin_host import PluginHost
from workers.services.plugin_run import PluginRun

if TYPE_CHECKING:
    import wasmtime

_TICK_SECONDS: Final = 0.01
_CACHED_MODULES: Final = 32


class PluginTampered(PermanentError):
    """The module is not the one that was installed."""


@dataclasses.dataclass(slots=True)
class Usage:
    """What a run took; filled in also when it failed."""

    #: None where it was stopped in the middle, and nobody knows.
    fuel_used: int | None = 0
    memory_bytes: int = 0
    duration_ms: float = 0.0


class PluginSandbox:
    """Compiled modules and the clock that stops them. One per process; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process_id = 0
        self._engine: wasmtime.Engine | None = None
        self._modules: OrderedDict[tuple[str, frozenset[str]], wasmtime.Module] = OrderedDict()

    def run(
        self, module: bytes, pinned_sha256: str, permissions: frozenset[str], *, fuel: int, memory_bytes: int,
        time_ms: int, given: dict[str, Any], host: PluginHost, usage: Usage,
    ) -> dict[str, Any]:  # fmt: skip
        """Run the module's `run` on `given`; answers its JSON object.

        Raises:
            PluginTampered, BadModule, PermissionDenied: it was not begun.
            PluginOutOfFuel, PluginTimedOut, PluginOutOfMemory, PluginStackOverflow, PluginTrapped,
            PluginOutputTooLarge, PluginMisbehaved: how it ended. Errors of host functions come through as they are.
        """
        import wasmtime

        if sha256_of(module) != pinned_sha256:
            raise PluginTampered("the module's hash differs from the one pinned when it was installed")
        engine = self._running_engine()
        compiled = self._compiled(engine, module, pinned_sha256, permissions)
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=memory_bytes, **INSTANCE_LIMITS)
        store.set_fuel(fuel)
        store.set_epoch_deadline(max(1, round(time_ms / 1000 / _TICK_SECONDS)))
        started = time.monotonic()
        run = PluginRun(store, compiled, memory_bytes)
        linker = run.linker(engine, permissions, host)
        try:
            return run.answer(given, linker)
        finally:
            usage.duration_ms = (time.monotonic() - started) * 1000
            usage.fuel_used = fuel - run.fuel_left if run.is_fuel_known else None
            usage.memory_bytes = run.memory_size
            # Each holds the host functions, which hold the run: nobody else would ever let go of them.
            linker.close()
            store.close()

    def _compiled(
        self, engine: wasmtime.Engine, module: bytes, digest: str, permissions: frozenset[str]
    ) -> wasmtime.Module:
        key = (digest, permissions)
        with self._lock:
            if key in self._modules:
                self._modules.move_to_end(key)
                return self._modules[key]
        compiled = compile_module(engine, module, permissions)
        with self._lock:
            self._modules[key] = compiled
            while len(self._modules) > _CACHED_MODULES:
                self._modules.popitem(last=False)
        return compiled

    def _running_engine(self) -> wasmtime.Engine:
        """The engine of this process, with its clock: neither survives a fork."""
        with self._lock:
            if self._engine is None or self._process_id != os.getpid():
                self._process_id = os.getpid()
                self._modules.clear()
                self._engine = new_engine()
                # A list, not an Event: a fork may come while the clock holds the Event's lock.
                is_over: list[bool] = []
                weakref.finalize(self, is_over.append, True)
                clock = threading.Thread(target=_tick, args=(self._engine, is_over), name="plugin-clock", daemon=True)
                clock.start()
            return self._engine


def _tick(engine: wasmtime.Engine, is_over: list[bool]) -> None:
    """Count time until the sandbox is gone.

    The clock holds the engine: a weak reference may still answer while the engine is being freed.
    """
    while not is_over:
        engine.increment_epoch()
        time.sleep(_TICK_SECONDS)
