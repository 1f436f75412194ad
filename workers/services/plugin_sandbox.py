"""Runs WebAssembly of others: bounded in instructions, time, memory, depth and output, and asking only what it may."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import PermanentError
from teknav_ops.platform.plugin_module import HOST_FUNCTIONS, HOST_MODULE, compile_module, new_engine, sha256_of
from workers.services.plugin_host import (
    MESSAGE_LIMIT_BYTES,
    PluginHost,
    PluginMisbehaved,
    PluginTimedOut,
    put_bytes,
    read_bytes,
)

if TYPE_CHECKING:
    import wasmtime

_TICK_SECONDS: Final = 0.01
_CACHED_MODULES: Final = 32
#: A trap this close to the limit came of having no more memory.
_FULL_SHARE: Final = 0.9


class PluginOutOfFuel(PermanentError):
    """It used up its instructions."""


class PluginOutOfMemory(PermanentError):
    """It wanted more memory than it may have."""


class PluginStackOverflow(PermanentError):
    """It called itself too deeply."""


class PluginTrapped(PermanentError):
    """It stopped itself, or did what WebAssembly forbids."""


class PluginOutputTooLarge(PermanentError):
    """Its answer is larger than an answer may be."""


class PluginTampered(PermanentError):
    """The module is not the one that was installed."""


@dataclasses.dataclass(slots=True)
class Usage:
    """What a run took; filled in also when it failed."""

    fuel_used: int = 0
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
        store.set_limits(memory_size=memory_bytes, table_elements=100_000, instances=1, tables=4, memories=1)
        store.set_fuel(fuel)
        store.set_epoch_deadline(max(1, round(time_ms / 1000 / _TICK_SECONDS)))
        started = time.monotonic()
        run = _Run(store, _link(engine, permissions, host), compiled, memory_bytes)
        try:
            return run.answer(given)
        finally:
            usage.duration_ms = (time.monotonic() - started) * 1000
            usage.fuel_used = fuel - store.get_fuel()
            usage.memory_bytes = run.memory_size

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
                clock = threading.Thread(
                    target=_tick, args=(weakref.ref(self._engine),), name="plugin-clock", daemon=True
                )
                clock.start()
            return self._engine


def _tick(engine: weakref.ref[wasmtime.Engine]) -> None:
    """Count time for as long as somebody holds the engine."""
    while (running := engine()) is not None:
        running.increment_epoch()
        del running
        time.sleep(_TICK_SECONDS)


def _link(engine: wasmtime.Engine, permissions: frozenset[str], host: PluginHost) -> wasmtime.Linker:
    """Only what was granted is there to be called."""
    import wasmtime

    kinds = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
    linker = wasmtime.Linker(engine)
    for name, (permission, parameters, results) in HOST_FUNCTIONS.items():
        if permission in permissions:
            signature = wasmtime.FuncType([kinds[p]() for p in parameters], [kinds[r]() for r in results])
            linker.define_func(HOST_MODULE, name, signature, getattr(host, name), access_caller=True)
    return linker


class _Run:
    """One instance, from its start to its answer."""

    def __init__(
        self, store: wasmtime.Store, linker: wasmtime.Linker, module: wasmtime.Module, memory_limit: int
    ) -> None:
        self._store = store
        self._linker = linker
        self._module = module
        self._memory_limit = memory_limit
        self._memory: wasmtime.Memory | None = None

    @property
    def memory_size(self) -> int:
        """Bytes it holds; memory never shrinks, so this is the most it held."""
        return self._memory.data_len(self._store) if self._memory else 0

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Instantiate, hand over the input, call, and read what came back."""
        import wasmtime

        try:
            packed = self._call(json.dumps(given, ensure_ascii=False).encode())
        except wasmtime.Trap as trap:
            raise self._sorted(trap) from None
        except wasmtime.WasmtimeError as error:
            raise self._sorted_error(error) from None
        return self._read(packed)

    def _call(self, content: bytes) -> int:
        exports: Any = self._linker.instantiate(self._store, self._module).exports(self._store)
        self._memory = exports["memory"]
        packed = put_bytes(self._store, exports["alloc"], exports["memory"], content) % 2**64
        return int(exports["run"](self._store, _signed(packed >> 32), packed & 0xFFFFFFFF))

    def _read(self, packed: int) -> dict[str, Any]:
        at, size = packed % 2**64 >> 32, packed & 0xFFFFFFFF
        if size > MESSAGE_LIMIT_BYTES:
            raise PluginOutputTooLarge(f"{size:,} bytes; an answer may have {MESSAGE_LIMIT_BYTES:,}")
        assert self._memory is not None
        try:
            output = json.loads(read_bytes(self._store, self._memory, at, size).decode())
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise PluginMisbehaved("the answer is not JSON in UTF-8") from None
        if not isinstance(output, dict):
            raise PluginMisbehaved(f"the answer is a JSON {type(output).__name__}, not an object")
        return output

    def _sorted(self, trap: wasmtime.Trap) -> PermanentError:
        from wasmtime import TrapCode

        words = str(trap.message).strip().splitlines()[-1].strip()[:300]
        known: dict[Any, type[PermanentError]] = {
            TrapCode.OUT_OF_FUEL: PluginOutOfFuel,
            TrapCode.INTERRUPT: PluginTimedOut,
            TrapCode.STACK_OVERFLOW: PluginStackOverflow,
        }
        if trap.trap_code in known:
            return known[trap.trap_code](words)
        if self.memory_size >= _FULL_SHARE * self._memory_limit:
            return PluginOutOfMemory(f"{self.memory_size:,} of {self._memory_limit:,} bytes in use: {words}")
        return PluginTrapped(words)

    def _sorted_error(self, error: wasmtime.WasmtimeError) -> PermanentError:
        words = " ".join(str(error).split())[:300]
        # The library has no code for this one.
        return PluginOutOfMemory(words) if "memory" in words and "limit" in words else PluginTrapped(words)


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value
