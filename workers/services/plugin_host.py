"""What a plugin may ask of us while it runs, if it was granted it. Writes wait until the run has succeeded."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sqlalchemy import func, select

from teknav_ops.errors import PermanentError, TekNavError
from teknav_ops.outbound.addresses import AddressBlocked, InvalidUrl, check_url
from teknav_ops.outbound.http import OutboundHttp
from teknav_ops.payloads import plain
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article, PluginKv

if TYPE_CHECKING:
    import wasmtime

HOST_CALL_LIMIT: Final = 1_000
MESSAGE_LIMIT_BYTES: Final = 64 * 1024
_KEY_LIMIT_CHARACTERS: Final = 200
_KEY_COUNT_LIMIT: Final = 1_000
_LOG_LINE_LIMIT: Final = 100
_LOG_LINE_CHARACTERS: Final = 500
_LEVELS: Final = ("debug", "info", "warning", "error")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})


class PluginMisbehaved(PermanentError):
    """The plugin passed a pointer, a text or a number that makes no sense."""


class PluginHostCallLimit(PermanentError):
    """The plugin asked for more than a run may ask for."""


class PluginTimedOut(PermanentError):
    """It used up its time."""


class HostNotAllowed(PermanentError):
    """The plugin wanted to fetch from a host that is not on its list."""


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """What this plugin may do and where."""

    plugin_id: int
    permissions: frozenset[str]
    allowed_hosts: frozenset[str]


class PluginHost:
    """The host side of one run."""

    def __init__(self, grant: Grant, database: Database, http: OutboundHttp, *, deadline: float) -> None:
        self._grant = grant
        self._database = database
        self._http = http
        self._deadline = deadline
        self.calls: Counter[str] = Counter()
        self.log_lines: list[dict[str, str]] = []
        #: key -> version that was read; 0 for a key that was not there.
        self.versions: dict[str, int] = {}
        self.writes: dict[str, str] = {}

    def log(self, caller: wasmtime.Caller, level: int, pointer: int, length: int) -> None:
        """Keep a line of the plugin's own log."""
        self._count("log")
        text = read_text(caller, pointer, length)
        if len(self.log_lines) < _LOG_LINE_LIMIT:
            name = _LEVELS[level] if 0 <= level < len(_LEVELS) else "info"
            self.log_lines.append({"level": name, "text": text[:_LOG_LINE_CHARACTERS].replace("\0", "")})

    def article_read(self, caller: wasmtime.Caller, article_id: int) -> int:
        """The article as JSON, or 0."""
        self._count("article_read")
        if not 0 < article_id < 2**31:
            return 0
        with self._database.reading() as session:
            article = session.get(Article, article_id)
            if article is None:
                return 0
            found = {"id": article.id, "language": article.language, "title": article.title, "body": article.body,
                     "tags": article.tags, "status": article.status, "version": article.version}  # fmt: skip
        return write_bytes(caller, json.dumps(found, ensure_ascii=False).encode())

    def kv_get(self, caller: wasmtime.Caller, pointer: int, length: int) -> int:
        """The value of a key, as this run has left it so far; or 0."""
        self._count("kv_get")
        key = _key(read_text(caller, pointer, length))
        value = self.writes.get(key)
        if value is None:
            value = self._stored(key)
        return 0 if value is None else write_bytes(caller, value.encode())

    def kv_set(self, caller: wasmtime.Caller, key_at: int, key_length: int, value_at: int, value_length: int) -> int:
        """Keep a value, should the run succeed. 0: fine; 1: the plugin has too many keys."""
        self._count("kv_set")
        key = _key(read_text(caller, key_at, key_length))
        value = read_text(caller, value_at, value_length).replace("\0", "")
        if key not in self.versions:
            self._stored(key)
        if self.versions[key] == 0 and key not in self.writes and self._key_count() >= _KEY_COUNT_LIMIT:
            return 1
        self.writes[key] = value
        return 0

    def _stored(self, key: str) -> str | None:
        with self._database.reading() as session:
            row = session.get(PluginKv, (self._grant.plugin_id, key))
        self.versions.setdefault(key, row.version if row else 0)
        return row.value if row else None

    def _key_count(self) -> int:
        new = sum(self.versions[key] == 0 for key in self.writes)
        with self._database.reading() as session:
            count = select(func.count()).where(PluginKv.plugin_id == self._grant.plugin_id)
            return int(session.scalar(count) or 0) + new

    def http_fetch(self, caller: wasmtime.Caller, pointer: int, length: int) -> int:
        """Answer an HTTP request as JSON; what went wrong on the way is an answer too."""
        self._count("http_fetch")
        request = _request(read_text(caller, pointer, length))
        host = _host_of(request["url"])
        if host not in self._grant.allowed_hosts:
            raise HostNotAllowed(f"http_fetch: {host or request['url'][:100]} is not on the plugin's list")
        try:
            answer = self._http.request(
                request["method"], request["url"], headers=request["headers"], content=request["body"].encode(),
                timeout_seconds=max(0.05, self._deadline - time.monotonic()),
                answer_limit_bytes=MESSAGE_LIMIT_BYTES // 2,
            )  # fmt: skip
            reply: dict[str, Any] = {
                "status": answer.status, "headers": dict(answer.headers), "body": answer.body.decode(errors="replace"),
                "is_truncated": answer.is_truncated,
            }  # fmt: skip
        except AddressBlocked:
            raise
        except TekNavError as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        if time.monotonic() >= self._deadline:
            raise PluginTimedOut(f"http_fetch: waiting for {host} took the rest of its time")
        return write_bytes(caller, json.dumps(reply, ensure_ascii=False).encode())

    def _count(self, name: str) -> None:
        self.calls[name] += 1
        if self.calls.total() > HOST_CALL_LIMIT:
            raise PluginHostCallLimit(f"more than {HOST_CALL_LIMIT:,} calls of host functions")


def _host_of(url: str) -> str:
    """The host as the plugin's list has it, in ASCII; '' where there is none."""
    try:
        return urlsplit(check_url(url)).hostname or ""
    except InvalidUrl:
        return ""


def _key(key: str) -> str:
    if not key or len(key) > _KEY_LIMIT_CHARACTERS or "\0" in key:
        raise PluginMisbehaved(f"kv: a key has 1 to {_KEY_LIMIT_CHARACTERS} characters")
    return key


def _request(text: str) -> dict[str, Any]:
    try:
        request = plain.read(text)
        method, url = str(request.get("method", "GET")).upper(), str(request["url"])
        headers = {str(name): str(value) for name, value in dict(request.get("headers") or {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PluginMisbehaved('http_fetch: the request must be JSON such as {"method": "GET", "url": "…"}') from None
    if method not in _METHODS:
        raise PluginMisbehaved(f"http_fetch: method {method[:20]!r} is not one of {', '.join(sorted(_METHODS))}")
    return {"method": method, "url": url, "headers": headers, "body": str(request.get("body") or "")}


def read_bytes(caller: Any, memory: wasmtime.Memory, pointer: int, length: int) -> bytes:
    """Bytes of the plugin's memory. Raises PluginMisbehaved outside of it."""
    at, size = pointer & 0xFFFFFFFF, length & 0xFFFFFFFF
    if size > MESSAGE_LIMIT_BYTES:
        raise PluginMisbehaved(f"{size:,} bytes are more than the {MESSAGE_LIMIT_BYTES:,} that may be passed at once")
    if at + size > memory.data_len(caller):
        raise PluginMisbehaved(f"pointer {at:#x} with {size} bytes leads out of the plugin's memory")
    return bytes(memory.read(caller, at, at + size))


def read_text(caller: wasmtime.Caller, pointer: int, length: int) -> str:
    """UTF-8 out of the plugin's memory. Raises PluginMisbehaved."""
    memory: Any = caller["memory"]
    try:
        return read_bytes(caller, memory, pointer, length).decode()
    except UnicodeDecodeError:
        raise PluginMisbehaved("a text is not UTF-8") from None


def write_bytes(caller: wasmtime.Caller, content: bytes) -> int:
    """Put bytes where the plugin's own `alloc` says; answers pointer and length in one number."""
    alloc: Any = caller["alloc"]
    memory: Any = caller["memory"]
    return put_bytes(caller, alloc, memory, content)


def put_bytes(store: Any, alloc: Any, memory: wasmtime.Memory, content: bytes) -> int:
    """As `write_bytes`, from outside a call."""
    at = alloc(store, len(content)) & 0xFFFFFFFF
    if at + len(content) > memory.data_len(store):
        raise PluginMisbehaved(f"alloc({len(content)}) answered {at:#x}, which leads out of the plugin's memory")
    memory.write(store, content, at)
    packed = at << 32 | len(content)
    # WebAssembly's i64 is signed.
    return int(packed - 2**64 if packed >= 2**63 else packed)
