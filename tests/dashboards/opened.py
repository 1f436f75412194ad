"""An open page whose browser is the test."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from typing import Any

from bokeh.document import Document

from dashboards.face import Face
from dashboards.open_page import OpenPage


def applied(old: Any, change: dict[str, Any]) -> Any:
    """What `applied` of assets/js/client.js does."""
    if "v" in change:
        return change["v"]
    if "l" in change:
        return [value for entry in change["l"] for value in _entries(old, entry)]
    kept = {name: value for name, value in old.items() if name not in change.get("x", ())}
    return kept | {name: applied(old.get(name), part) for name, part in change["d"].items()}


def _change_of(message: dict[str, Any]) -> dict[str, Any]:
    text = zlib.decompress(b64decode(message["packed"])) if "packed" in message else message["change"]
    change: dict[str, Any] = json.loads(text)
    return change


def _entries(old: list[Any], entry: Any) -> list[Any]:
    if isinstance(entry, dict):
        return [entry["v"]]
    first, what = entry
    return old[first : first + what] if isinstance(what, int) else [applied(old[first], what)]


class Opened:
    """An open page whose browser is this test: what it was told, in order."""

    def __init__(self, page: OpenPage, document: Document, face: Face) -> None:
        self.page = page
        self._document = document
        self._face = face
        self.told: list[dict[str, Any]] = []
        self._shown: dict[str, Any] = {}
        self._seen = self._counted = 0
        face._send_msg = self.told.append  # type: ignore[method-assign, assignment]

    def send(self, **message: Any) -> None:
        self._face._handle_msg(message)

    def state(self) -> dict[str, Any]:
        """What the browser shows now, of all it was told; the clock of the feed is this test, too."""
        self.page.refresh_when_due()
        self._run_callbacks()
        for message in self.told[self._seen :]:
            if message["kind"] == "state":
                self._shown = applied(self._shown if message["base"] else {}, _change_of(message))
        self._seen = len(self.told)
        return self._shown

    def sent(self) -> int:
        """How many bytes it was told since this was asked for the last time."""
        self.state()
        told, self._counted = self.told[self._counted :], len(self.told)
        return sum(len(json.dumps(message)) for message in told)

    def answer(self, message_id: int) -> dict[str, Any] | None:
        self._run_callbacks()
        found = [told for told in self.told if told["kind"] == "answer" and told["id"] == message_id]
        return found[0] if found else None

    def _run_callbacks(self) -> None:
        for callback in list(self._document.session_callbacks):
            self._document.remove_next_tick_callback(callback)
            callback.callback()
