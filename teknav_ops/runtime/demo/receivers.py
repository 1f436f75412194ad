"""The other side of the demo: a mail server and a webhook receiver that do not always say yes.

Run as `python -m teknav_ops.runtime.demo.receivers SMTP_PORT HTTP_PORT OUTBOX`. Mails that are taken
become .eml files in the outbox folder.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

from aiosmtpd.controller import Controller

_SLOW_SECONDS: Final = 2.5
#: How often a moody address refuses before it takes something.
_REFUSALS: Final = 1


class Mailbox:
    """Keeps mails as files. `nobody@` is unknown; `greylisted@` has to come twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = Counter[str]()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        """Take the recipient, or say why not."""
        name = address.partition("@")[0]
        self._seen[address] += 1
        if name.startswith("nobody"):
            return "550 5.1.1 no such user here"
        if name.startswith("greylisted") and self._seen[address] <= _REFUSALS:
            return "451 4.7.1 greylisted, come back in a moment"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Write the mail as a file, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns()}-{envelope.rcpt_tos[0].partition('@')[0]}"
        draft = self._folder / f"{name}.draft"
        draft.write_bytes(envelope.content)
        draft.replace(self._folder / f"{name}.eml")
        return f"250 kept as {name}.eml"


class Receiver(BaseHTTPRequestHandler):
    """`/hooks/ok`, `/slow`, `/moody` (500 first), `/busy` (429 first), `/broken` (always 500), `/refusing` (400)."""

    seen: ClassVar[Counter[str]] = Counter()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the delivery log does."""

    def do_POST(self) -> None:
        """Answer as the path says."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        mood = self.path.rpartition("/")[2]
        key = f"{self.path} {self.headers.get('webhook-id', '')}"
        self.seen[key] += 1
        is_first = self.seen[key] <= _REFUSALS
        if mood == "slow":
            time.sleep(_SLOW_SECONDS)
        status = {"broken": 500, "refusing": 400}.get(mood, 200)
        if is_first:
            status = {"moody": 500, "busy": 429}.get(mood, status)
        answer = f"{mood}: {status}\n".encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "2")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def main(smtp_port: int, http_port: int, outbox: Path) -> None:
    """Serve until the process is ended."""
    Controller(Mailbox(outbox), hostname="127.0.0.1", port=smtp_port).start()
    server = ThreadingHTTPServer(("127.0.0.1", http_port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
