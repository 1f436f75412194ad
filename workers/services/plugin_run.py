"""One run of a plugin: instantiated, asked, answered or stopped, and why it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import PermanentError
from teknav_ops.payloads import plain
from teknav_ops.platform.plugin_module import HOST_FUNCTIONS, HOST_MODULE
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


class PluginRun:
    """One instance, from its start to its answer."""

    def __init__(self, store: wasmtime.Store, module: wasmtime.Module, memory_limit: int) -> None:
        self._store = store
        self._module = module
        self._memory_limit = memory_limit
        self._memory: wasmtime.Memory | None = None
        self._failure: BaseException | None = None
        self._fuel_at_failure = 0
        #: Compiled code keeps its count to itself and writes it back when it calls, returns or has run out.
        self.is_fuel_known = True

    @property
    def memory_size(self) -> int:
        """Bytes it holds; memory never shrinks, so this is the most it held."""
        return self._memory.data_len(self._store) if self._memory else 0

    @property
    def fuel_left(self) -> int:
        """Instructions it did not use."""
        return self._store.get_fuel() if self._failure is None else self._fuel_at_failure

    def linker(self, engine: wasmtime.Engine, permissions: frozenset[str], host: PluginHost) -> wasmtime.Linker:
        """Only what was granted is there to be called."""
        import wasmtime

        kinds = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
        linker = wasmtime.Linker(engine)
        for name, (permission, parameters, results) in HOST_FUNCTIONS.items():
            if permission in permissions:
                signature = wasmtime.FuncType([kinds[p]() for p in parameters], [kinds[r]() for r in results])
                function = self._guarded(getattr(host, name), 0 if results else None)
                linker.define_func(HOST_MODULE, name, signature, function, access_caller=True)
        return linker

    def _guarded(self, function: Callable[..., int | None], nothing: int | None) -> Callable[..., int | None]:
        """The host function; when it fails, the run ends at its next instruction that counts.

        An exception is not let through the library: that keeps one for the whole process, and would raise it
        in whichever thread's plugin happens to stop next.
        """

        def call(caller: wasmtime.Caller, *given: int) -> int | None:
            if self._failure is not None:
                return nothing
            try:
                return function(caller, *given)
            except BaseException as error:
                self._fuel_at_failure = self._store.get_fuel()
                self._failure = error
                self._store.set_fuel(0)
                return nothing

        return call

    def answer(self, given: dict[str, Any], linker: wasmtime.Linker) -> dict[str, Any]:
        """Instantiate, hand over the input, call, and read what came back."""
        import wasmtime

        packed = 0
        ended: BaseException | None = None
        try:
            packed = self._call(linker, json.dumps(given, ensure_ascii=False).encode())
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            ended = error
        if self._failure is not None:
            ended = self._failure
        if isinstance(ended, wasmtime.Trap):
            raise self._sorted(ended) from None
        if isinstance(ended, wasmtime.WasmtimeError):
            raise self._sorted_error(ended) from None
        if ended is not None:
            raise ended
        return self._read(packed)

    def _call(self, linker: wasmtime.Linker, content: bytes) -> int:
        exports: Any = linker.instantiate(self._store, self._module).exports(self._store)
        self._memory = exports["memory"]
        packed = put_bytes(self._store, exports["alloc"], exports["memory"], content) % 2**64
        return int(exports["run"](self._store, _signed(packed >> 32), packed & 0xFFFFFFFF))

    def _read(self, packed: int) -> dict[str, Any]:
        at, size = packed % 2**64 >> 32, packed & 0xFFFFFFFF
        if size > MESSAGE_LIMIT_BYTES:
            raise PluginOutputTooLarge(f"{size:,} bytes; an answer may have {MESSAGE_LIMIT_BYTES:,}")
        assert self._memory is not None
        try:
            output = plain.read(read_bytes(self._store, self._memory, at, size).decode())
            plain.check(output, nulls=True)
        except ValueError as error:
            raise PluginMisbehaved(f"the answer is not JSON in UTF-8: {error}") from None
        if not isinstance(output, dict):
            raise PluginMisbehaved(f"the answer is a JSON {type(output).__name__}, not an object")
        return output

    def _sorted(self, trap: wasmtime.Trap) -> PermanentError:
        from wasmtime import TrapCode

        self.is_fuel_known = trap.trap_code is TrapCode.OUT_OF_FUEL
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
