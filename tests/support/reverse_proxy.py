"""A reverse proxy that ends TLS and shares its host among paths, as nginx and Caddy do: one request a connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from typing import Self

from tests.support.certificates import self_signed
from tests.support.ports import free_port

_CLOSES = "connection: close"


class ReverseProxy:
    """Passes on what is asked for below `prefix`, to a server on loopback, and takes the prefix off where it `strips`.

    Everything else is answered with 404; `strays` lists it.
    """

    def __init__(self, folder: Path, prefix: str, *, strips: bool) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}{prefix}"
        self.server_port = 0
        self.strays: list[str] = []
        self._prefix, self._strips = prefix, strips
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*self_signed("ops.example", folder))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reverse-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *headers = head.rstrip("\r\n").split("\r\n")
            method, target, version = request.split(" ")
            if not (target == self._prefix or target.startswith((f"{self._prefix}/", f"{self._prefix}?"))):
                self.strays.append(target)
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            if self._strips:
                target = target.removeprefix(self._prefix) or "/"
            if not any(header.lower().startswith("upgrade:") for header in headers):
                headers = [header for header in headers if not header.lower().startswith("connection:")] + [_CLOSES]
            headers += ["x-forwarded-proto: https", "x-forwarded-for: 127.0.0.1"]
            passed = "\r\n".join([f"{method} {target} {version}", *headers]) + "\r\n\r\n"
            await self._pass(passed.encode("latin-1"), reader, writer)

    async def _pass(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        with contextlib.closing(server_writer):
            server_writer.write(head)
            sending = asyncio.ensure_future(_copy(reader, server_writer))
            await _copy(server_reader, writer)
            sending.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
