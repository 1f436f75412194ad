"""An HTTP receiver for tests: scripted answers, everything it was sent is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from tests.support.ports import free_port

#: Seconds that no test lasts.
FOR_EVER: Final = 3_600.0


@dataclasses.dataclass
class Answer:
    """What the receiver does with one request. It waits for `after`; `drip_seconds` waits between bytes of the body.

    No wait outlives the receiver, so one that must be longer than anything else may be `FOR_EVER`.
    """

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    delay_seconds: float = 0.0
    after: threading.Event | None = None
    drip_seconds: float = 0.0
    hangs_up: bool = False


@dataclasses.dataclass
class Request:
    """What came in; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpReceiver:
    """Answers with `answers` in turn; the last one is repeated. `echo` puts the request's body into the answer."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer()]
        self.requests: list[Request] = []
        self.echo = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    receiver.answer(self, Request(self.command, self.path, headers, body))

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _any  # noqa: N815

        self._http = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self._ended.wait(answer.delay_seconds)
        while answer.after and not (answer.after.wait(0.05) or self._ended.is_set()):
            pass
        if answer.hangs_up:
            handler.close_connection = True
            return
        body = answer.body + (request.body if self.echo else b"")
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if not answer.drip_seconds:
            handler.wfile.write(body)
        for byte in body if answer.drip_seconds else b"":
            handler.wfile.write(bytes([byte]))
            self._ended.wait(answer.drip_seconds)
