"""What a plugin's module must look like: its exports, its imports, and what each import is allowed by.

Asked when a plugin is installed and again before it runs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import InvalidRequest, PermanentError

if TYPE_CHECKING:
    import wasmtime

HOST_MODULE: Final = "teknav"
#: Host function -> the permission that grants it, its parameters and its results.
HOST_FUNCTIONS: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "log": ("log", ("i32", "i32", "i32"), ()),
    "article_read": ("article:read", ("i64",), ("i64",)),
    "kv_get": ("kv:read", ("i32", "i32"), ("i64",)),
    "kv_set": ("kv:write", ("i32", "i32", "i32", "i32"), ("i32",)),
    "http_fetch": ("http:fetch", ("i32", "i32"), ("i64",)),
}
PERMISSIONS: Final = tuple(permission for permission, _, _ in HOST_FUNCTIONS.values())
_EXPORTS: Final = {"alloc": (("i32",), ("i32",)), "run": (("i32", "i32"), ("i64",))}
MODULE_LIMIT_BYTES: Final = 4 * 1024 * 1024
STACK_LIMIT_BYTES: Final = 512 * 1024
#: What a store holds for one run, beside its memory.
INSTANCE_LIMITS: Final = {"table_elements": 100_000, "instances": 1, "tables": 4, "memories": 1}
_TRIAL_BYTES: Final = 64
#: A start that needs more than a fraction of a second is none.
_TRIAL_FUEL: Final = 200_000_000


class BadModule(PermanentError, InvalidRequest):
    """The module is not WebAssembly, or lacks what every plugin must export."""


class PermissionDenied(PermanentError, InvalidRequest):
    """The module asks for a host function that it was not granted."""


def new_engine() -> wasmtime.Engine:
    """An engine on which modules can be stopped: by fuel, by time, by depth."""
    import wasmtime

    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.max_wasm_stack = STACK_LIMIT_BYTES
    # Its threads would not survive a fork, and a compilation in the child would wait for them for ever.
    config.parallel_compilation = False
    # For debuggers; it would register code with the C++ runtime each time a module comes or goes.
    config.native_unwind_info = False
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    return wasmtime.Engine(config)


def sha256_of(module: bytes) -> str:
    """What is pinned when a plugin is installed."""
    return hashlib.sha256(module).hexdigest()


def to_binary(source: bytes) -> bytes:
    """The binary module of a file that may hold text (WAT). Raises BadModule."""
    import wasmtime

    if source.startswith(b"\0asm"):
        return source
    try:
        return bytes(wasmtime.wat2wasm(source.decode()))
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as error:
        raise BadModule(f"module: neither WebAssembly nor its text form: {_first_line(error)}") from None


def compile_module(engine: wasmtime.Engine, module: bytes, permissions: frozenset[str]) -> wasmtime.Module:
    """Compile a module whose exports and imports are in order.

    Raises:
        BadModule: it is too large, does not compile, or lacks an export.
        PermissionDenied: it imports what it was not granted.
    """
    import wasmtime

    if len(module) > MODULE_LIMIT_BYTES:
        raise BadModule(f"module: {len(module):,} bytes is over the limit of {MODULE_LIMIT_BYTES:,}")
    try:
        compiled = wasmtime.Module(engine, module)
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"module: {_first_line(error)}") from None
    _check_imports(compiled, permissions)
    _check_exports(compiled)
    return compiled


def try_out(engine: wasmtime.Engine, module: wasmtime.Module, *, fuel: int, memory_bytes: int) -> None:
    """Start a module under its limits and ask it for room, as each run will. Raises BadModule when it never could run.

    Host functions answer 0 meanwhile: nothing is read, written or sent.
    """
    import wasmtime

    store = wasmtime.Store(engine)
    linker = wasmtime.Linker(engine)
    store.set_limits(memory_size=memory_bytes, **INSTANCE_LIMITS)
    store.set_fuel(min(fuel, _TRIAL_FUEL))
    store.set_epoch_deadline(1)
    try:
        linker.define_unknown_imports_as_default_values(store, module)
        exports: Any = linker.instantiate(store, module).exports(store)
        at = exports["alloc"](store, _TRIAL_BYTES) & 0xFFFFFFFF
        if at + _TRIAL_BYTES > exports["memory"].data_len(store):
            raise BadModule(f"module: alloc({_TRIAL_BYTES}) answered {at:#x}, which leads out of its memory")
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        raise BadModule(f"module: cannot start within its limits: {_first_line(error)}") from None
    finally:
        linker.close()
        store.close()


def _check_imports(module: wasmtime.Module, permissions: frozenset[str]) -> None:
    for wanted in module.imports:
        known = HOST_FUNCTIONS.get(wanted.name or "") if wanted.module == HOST_MODULE else None
        if known is None:
            raise PermissionDenied(f"module: imports {wanted.module}.{wanted.name}, which no permission grants")
        permission, parameters, results = known
        if permission not in permissions:
            raise PermissionDenied(f"module: imports {wanted.name}, which needs the permission {permission}")
        if _signature(wanted.type) != (parameters, results):
            raise BadModule(f"module: imports {wanted.name} with a signature other than {parameters} -> {results}")


def _check_exports(module: wasmtime.Module) -> None:
    import wasmtime

    exports = {export.name: export.type for export in module.exports}
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        raise BadModule("module: must export its memory as `memory`")
    for name, signature in _EXPORTS.items():
        if _signature(exports.get(name)) != signature:
            raise BadModule(f"module: must export {name}{signature[0]} -> {signature[1]}")


def _signature(kind: object) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    import wasmtime

    if not isinstance(kind, wasmtime.FuncType):
        return None
    return tuple(map(str, kind.params)), tuple(map(str, kind.results))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
