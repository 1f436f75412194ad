"""An OpenAI-compatible server for tests: real HTTP, scripted answers, everything it was asked is kept."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.ports import free_port


class Reply:
    """What the server does with one request; `text` may be any object, sent as JSON."""

    def __init__(
        self, text: Any = "", *, status: int = 200, headers: dict[str, str] | None = None, code: str | None = None,
        finish_reason: str = "stop", refusal: str | None = None, usage: tuple[int, int] = (1_000, 200),
        delay_seconds: float = 0.0, breaks_off: bool = False,
        raw: str = "", kind: str = "application/json",
    ) -> None:  # fmt: skip
        self.text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.finish_reason = finish_reason
        self.refusal = refusal
        self.usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        self.delay_seconds = delay_seconds
        self.breaks_off = breaks_off
        #: Sent in place of an answer, as this kind of content.
        self.raw, self.kind = raw, kind


class AiServer:
    """Answers with `replies` in turn; the last one is repeated."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.answer(self, request)

        self._http = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        with self._lock:
            self.requests.append(request)
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self._ended.wait(reply.delay_seconds)
        # A client that stopped waiting is part of the tests.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._reply(handler, request, reply)

    def _reply(self, handler: BaseHTTPRequestHandler, request: dict[str, Any], reply: Reply) -> None:
        if reply.status != 200:
            # As providers do: they name the key that they refuse.
            sent = handler.headers["Authorization"]
            self._send(handler, reply, {"error": {"message": f"no: {sent}", "type": "error", "code": reply.code}})
        elif reply.raw:
            self._send(handler, reply, reply.raw)
        elif request.get("stream"):
            self._stream(handler, reply)
        else:
            message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
            choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
            body = {"id": "c", "object": "chat.completion", "created": 1, "model": "test-model-2026",
                    "choices": [choice], "usage": reply.usage}  # fmt: skip
            self._send(handler, reply, body)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply, body: dict[str, Any] | str) -> None:
        raw = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
        handler.send_response(reply.status)
        for name, value in {
            "Content-Type": reply.kind,
            "Content-Length": str(len(raw)),
            **reply.headers,
        }.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    def _stream(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        pieces = [reply.text[at : at + 20] for at in range(0, len(reply.text), 20)]
        chunks: list[dict[str, Any]] = [{"choices": [_delta({"content": piece})]} for piece in pieces]
        chunks.append({"choices": [_delta({"refusal": reply.refusal} if reply.refusal else {}, reply.finish_reason)]})
        chunks.append({"choices": [], "usage": reply.usage})
        if reply.breaks_off:
            chunks = chunks[: len(chunks) // 2]
        for chunk in chunks:
            full = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test-model-2026", **chunk}
            handler.wfile.write(f"data: {json.dumps(full, ensure_ascii=False)}\n\n".encode())
        if not reply.breaks_off:
            handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}
