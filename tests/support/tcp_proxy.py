"""A TCP proxy before Valkey that loses a chosen script call, or its answer.

It passes one command after another, each with its answer, so that what the server ran when the connection is
dropped is certain: every command before the chosen one, and none after it. SUBSCRIBE is not understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import hashlib
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from teknav_ops.redis_state import scripts
from tests.support.ports import free_port
from tests.support.script_list import typed_scripts

T = TypeVar("T")


class Moment(enum.StrEnum):
    """When the connection is dropped."""

    BEFORE = "before the command reaches the server"
    AFTER = "after the command ran, before its answer is passed on"
    MID_ANSWER = "in the middle of the answer"


@dataclasses.dataclass(slots=True)
class _Fault:
    script: str
    moment: Moment
    skip: int
    times: int


class _Dropped(Exception):
    """The connection is to be dropped now."""


class FaultProxy:
    """Listens on a port of its own on loopback; `arm` chooses the next call to be lost."""

    def __init__(self, server_url: str) -> None:
        self._server = urlsplit(server_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: _Fault | None = None
        self._names: dict[str, str] = {}
        self.port = free_port()
        #: Connections dropped since `arm`.
        self.dropped_count = 0
        #: The answers that were not passed on, or not all of them.
        self.lost_answers: list[bytes] = []
        #: The scripts whose calls were passed or dropped since `arm`, in order.
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        """The server's URL, by way of the proxy."""
        return urlunsplit(self._server._replace(netloc=f"127.0.0.1:{self.port}"))

    def __enter__(self) -> Self:
        self._thread.start()
        self._listener = self._call(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def arm(self, script: str, moment: Moment, *, skip: int = 0, times: int = 1) -> None:
        """Drop the connection at a call of `script`, or of a command given in capitals: after `skip` of them, `times`
        in a row."""
        self._names = {scripts.load(name).digest: name for name in typed_scripts()}
        self.dropped_count = 0
        self.seen = []
        self._fault = _Fault(script, moment, skip, times)

    def disarm(self) -> None:
        """Lose nothing more."""
        self._fault = None

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _stop(self) -> None:
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [to_client]
        try:
            from_server, to_server = await asyncio.open_connection(self._server.hostname, self._server.port)
            writers.append(to_server)
            commands: asyncio.Queue[tuple[bytes, list[bytes]]] = asyncio.Queue()
            # Reading goes on while the server is busy: who hangs up during BLPOP must be seen to.
            halves = {
                asyncio.create_task(self._read(from_client, commands)),
                asyncio.create_task(self._pass(commands, from_server, to_server, to_client)),
            }
            try:
                await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for half in halves:
                    half.cancel()
                await asyncio.gather(*halves, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for writer in writers:
                writer.close()
            for writer in writers:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await writer.wait_closed()
            self._tasks.discard(task)

    async def _read(self, reader: asyncio.StreamReader, into: asyncio.Queue[tuple[bytes, list[bytes]]]) -> None:
        while True:
            into.put_nowait(await read_command(reader))

    async def _pass(
        self,
        commands: asyncio.Queue[tuple[bytes, list[bytes]]],
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
    ) -> None:
        while True:
            raw, words = await commands.get()
            name = self._name_of(words)
            if self._is_due(name, Moment.BEFORE):
                raise _Dropped
            to_server.write(raw)
            await to_server.drain()
            answer = await read_answer(from_server)
            # A server that does not know the script has run nothing.
            has_run = not answer.startswith(b"-NOSCRIPT")
            if has_run and self._is_due(name, Moment.AFTER):
                self.lost_answers.append(answer)
                raise _Dropped
            if has_run and self._is_due(name, Moment.MID_ANSWER):
                self.lost_answers.append(answer)
                to_client.write(answer[: len(answer) // 2])
                raise _Dropped
            to_client.write(answer)
            await to_client.drain()

    def _name_of(self, words: list[bytes]) -> str:
        """The script's name; or the command's, in capitals."""
        command = words[0].upper().decode()
        if command not in ("EVALSHA", "EVAL"):
            return command
        is_digest = command == "EVALSHA"
        digest = words[1].decode() if is_digest else hashlib.sha1(words[1], usedforsecurity=False).hexdigest()
        if digest in self._names:
            self.seen.append(self._names[digest])
        return self._names.get(digest, command)

    def _is_due(self, name: str, moment: Moment) -> bool:
        fault = self._fault
        if fault is None or fault.script != name or fault.moment is not moment:
            return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        fault.times -= 1
        if fault.times == 0:
            self._fault = None
        self.dropped_count += 1
        return True


async def read_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """A command as it came, and its words."""
    header = await reader.readuntil(b"\r\n")
    raw, words = [header], []
    for _ in range(int(header[1:])):
        size = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(size[1:]) + 2)
        raw += (size, word)
        words.append(word[:-2])
    return b"".join(raw), words


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """An answer of RESP2 as it came."""
    line = await reader.readuntil(b"\r\n")
    kind, count = line[:1], line[1:-2]
    if kind == b"$" and int(count) >= 0:
        return line + await reader.readexactly(int(count) + 2)
    if kind == b"*" and int(count) > 0:
        return line + b"".join([await read_answer(reader) for _ in range(int(count))])
    return line
