"""An open page: between its visitor's browser, its `Page`, and the events that change it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from bokeh.document import Document

from dashboards.changes import change, packed
from dashboards.face import Face, face_of
from dashboards.page import Outcome, Page
from teknav_ops.access.freshness import FreshSignInNeeded
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation
from teknav_ops.errors import NotAllowed, RedisUnavailable, StorageUnavailable, TekNavError
from teknav_ops.queue_patterns import is_every_queue
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

log = structlog.get_logger("teknav.dashboard")

#: Least pause between two loads of one page, and to what it grows while events keep coming: a flood of them redraws
#: the page once a second, not for each.
_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 1.0
#: A page is loaded again so often though nothing was heard: ages grow, and a lost event must not stay lost.
_LONGEST_SECONDS: Final = 5.0
_OUTAGES: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, RedisUnavailable, StorageUnavailable)

_REDIS_AWAY: Final = "Redis does not answer."
_NOT_DONE: Final = "Not done: Redis does not answer. Try again when it is back."
_OUTCOME_UNKNOWN: Final = (
    "Redis or the database stopped answering while this was under way: look whether it was done when it is back."
)

Answer = dict[str, Any]


class OpenPage:
    """Loads in threads, so that a slow read never holds up another page; one load of a page at a time."""

    def __init__(
        self, page: Page, document: Document, threads: ThreadPoolExecutor, *,
        current_identity: Callable[[], Identity | None], note_use: Callable[[], None],
    ) -> None:  # fmt: skip
        self._page = page
        self._document = document
        self._threads = threads
        self._current_identity = current_identity
        self._note_use = note_use
        self._lock = threading.Lock()
        self._is_loading = False
        self._is_dirty = False
        self._began_at = self._rests_until = 0.0
        self._is_closed = False
        self._due_at = float("inf")
        self._is_redis_away = False
        self._loaded_at: float | None = None
        #: Ids of messages that were not answered yet.
        self._pending: set[int] = set()
        self._pause_seconds = _PAUSE_SECONDS
        #: What the browser shows, as it was told; and the number of what it was told last.
        self._shown: dict[str, Any] = {}
        self._version = 0
        self.face: Face = face_of(page.name, page.visit.sources.services.settings.path_prefix)(
            self._hear, page.title(), state={"shell": self._shell(0)}
        )

    def close(self) -> None:
        """The browser has left."""
        self._is_closed = True

    def heard(self, event: Any) -> None:
        """An event of the engine; called from the thread that listens."""
        if self._page.concerns(event):
            self.refresh()

    def note_redis(self, *, is_away: bool) -> None:
        """Whether Redis answers, as the process's watch sees it; called by the feed's clock."""
        if is_away == self._is_redis_away:
            return
        with self._lock:
            self._is_redis_away = is_away
            if is_away:
                self._show(self._outage(_REDIS_AWAY))
                for message_id in self._pending:
                    self._tell("answer", id=message_id, ok=False, text=_OUTCOME_UNKNOWN)
                self._pending.clear()
        self.refresh()

    def _outage(self, text: str) -> dict[str, Any]:
        """What is said while something of ours does not answer, and how old the figures are that stay shown."""
        age = None if self._loaded_at is None else time.monotonic() - self._loaded_at
        return {"outage": {"text": text, "ageSeconds": age}}

    def refresh_when_due(self) -> None:
        """Load again when it is time to; called by the feed's clock."""
        if time.monotonic() >= self._due_at:
            self.refresh()

    def refresh(self, *, is_asked: bool = False) -> None:
        """Load again; many calls become one load, and none follows another at once, unless the visitor asks."""
        with self._lock:
            if self._is_closed or self._is_redis_away:
                return
            now = time.monotonic()
            if self._is_loading or (now < self._rests_until and not is_asked):
                self._due_at = min(self._due_at, self._rests_until)
                self._is_dirty = True
                return
            self._is_loading, self._is_dirty, self._began_at = True, False, now
            self._due_at = float("inf")
        self._threads.submit(self._safely, self._load)

    def _safely(self, work: Callable[[], None]) -> None:
        """Nobody asks a thread's future what went wrong in it."""
        try:
            work()
        except Exception:
            log.exception("dashboard.failed", page=self._page.name)

    def _load(self) -> None:
        try:
            slots = self._slots()
        finally:
            with self._lock:
                self._is_loading = False
                is_flooded = self._began_at - self._rests_until < _PAUSE_SECONDS
                longer = min(_LONGEST_PAUSE_SECONDS, self._pause_seconds * 2)
                self._pause_seconds = longer if is_flooded else _PAUSE_SECONDS
                self._rests_until = time.monotonic() + self._pause_seconds
                self._due_at = self._rests_until if self._is_dirty else time.monotonic() + _LONGEST_SECONDS
        with self._lock:
            if not self._is_redis_away:
                self._show(slots)

    def _show(self, slots: dict[str, Any]) -> None:
        """Tell the browser what of it changed; under the lock, so that what is told comes in order."""
        shown = self._shown | slots
        changed = change(self._shown, shown)
        if changed is not None:
            self._tell("state", base=self._version, **packed(changed))
            self._version += 1
            self._shown = shown

    def _slots(self) -> dict[str, Any]:
        """What the page loaded, and what is shown of this visitor besides, as plain JSON."""
        begun = time.monotonic()
        try:
            if not self._is_signed_in():
                return self._signed_out()
            own = {"problem": None, "outage": None, "shell": self._shell(self._alert_count())}
            slots = self._loaded() | _plain(own)
            self._loaded_at = begun
            return slots
        except _OUTAGES as error:
            log.warning("dashboard.waiting", page=self._page.name, error=str(error))
            return self._outage("Redis or the database does not answer.")
        except TekNavError as error:
            return _plain({"problem": str(error), "outage": None, "shell": self._shell(0)})
        except Exception:
            log.exception("dashboard.failed", page=self._page.name)
            problem = "This page could not be loaded; the server's log says why."
            return _plain({"problem": problem, "outage": None, "shell": self._shell(0)})

    def _signed_out(self) -> dict[str, Any]:
        notice = "You are signed out. Reload the page to sign in again."
        return _plain({"outage": None, "shell": self._shell(0) | {"notice": notice}})

    def _is_signed_in(self) -> bool:
        """Whether the visitor still is; what has changed of them counts from now on."""
        identity = self._current_identity()
        if identity is not None:
            self._page.visit.identity = identity
        return identity is not None

    def _loaded(self) -> dict[str, Any]:
        """Made once for all who look at the same."""
        shared = self._page.shared_as()
        if shared is None:
            return _plain(self._page.load())
        loaded: dict[str, Any] = self._page.visit.reads.get(("page", shared), lambda: _plain(self._page.load()))
        return loaded

    def _alert_count(self) -> int:
        visit = self._page.visit
        count: int = visit.reads.get("alerts", visit.sources.alerts.open_count, seconds=5.0, outlives_events=True)
        return count

    def _shell(self, alert_count: int) -> dict[str, Any]:
        visit, identity = self._page.visit, self._page.visit.identity
        operator = identity.operator
        viewer = {
            "name": operator.name, "role": operator.role.value, "csrf": identity.csrf_token,
            "mayManage": operator.may(Operation.ADMINISTER),
            "queues": None if is_every_queue(operator.queues) else ", ".join(operator.queues),
        }  # fmt: skip
        return {
            "place": self._page.place, "crumbs": self._page.crumbs(), "viewer": viewer, "alertCount": alert_count,
            "rights": visit.rights(), "limits": visit.limits(), "maySearch": identity.may(Operation.READ_PAYLOADS),
        }  # fmt: skip

    # What the visitor does -----------------------------------------------------------------------

    def _hear(self, message: Mapping[str, Any]) -> None:
        """A message from the browser; on the document's thread, so nothing here waits."""
        name, arguments = message.get("action"), message.get("args")
        if name == "hello":
            # It listens from now on: what was told before this was told to nobody.
            with self._lock:
                known, self._shown, self._version = self._shown, {}, 0
                if known:
                    self._show(known)
            self.refresh()
        elif name == "ping":
            self.face.tell("pong")
        elif isinstance(name, str) and isinstance(arguments, dict):
            message_id = message.get("id")
            self._take(message_id if isinstance(message_id, int) else 0, name, arguments)

    def _take(self, message_id: int, name: str, arguments: dict[str, Any]) -> None:
        """Have an action done in a thread; while Redis is away, say at once that it is not."""
        query = arguments.get("query")
        if name == "navigate" and isinstance(query, dict):
            # Holds though Redis is away: the address has changed already.
            self._page.visit.query = {str(key): str(value) for key, value in query.items()}
        with self._lock:
            if self._is_redis_away:
                is_done = name == "navigate"
                self._tell("answer", id=message_id, ok=is_done, text="" if is_done else _NOT_DONE)
                return
            self._pending.add(message_id)
        self._threads.submit(self._safely, lambda: self._answer(message_id, name, arguments))

    def _answer(self, message_id: int, name: str, arguments: dict[str, Any]) -> None:
        # Somebody clicked: the session is in use. That a page is open is no sign of a person.
        self._note_use()
        answer = {"ok": True} if name == "navigate" else self._act(name, arguments)
        with self._lock:
            is_awaited = message_id in self._pending
            self._pending.discard(message_id)
        if is_awaited:
            self._tell("answer", id=message_id, **answer)
        self.refresh(is_asked=True)

    def _act(self, name: str, arguments: dict[str, Any]) -> Answer:
        try:
            if not self._is_signed_in():
                raise NotAllowed("You are signed out. Reload the page to sign in again.")
            outcome = self._page.act(name, arguments)
        except FreshSignInNeeded:
            # The browser asks for the proof, and then for the same once more.
            way = "password" if self._page.visit.identity.user_id is not None else "provider"
            return {"ok": False, "text": "", "confirm": way}
        except _OUTAGES as error:
            log.warning("dashboard.cut_off", page=self._page.name, page_action=name, error=str(error))
            return {"ok": False, "text": _OUTCOME_UNKNOWN}
        except TekNavError as error:
            if isinstance(error, NotAllowed):
                visit = self._page.visit
                visit.sources.note_refusal(visit.identity, error, page=self._page.name, page_action=name)
            return {"ok": False, "text": str(error), "field": _field_of(error)}
        except Exception:
            log.exception("dashboard.action_failed", page=self._page.name, page_action=name)
            return {"ok": False, "text": "Something broke; the server's log says what."}
        return _told(outcome)

    def _tell(self, kind: str, **content: Any) -> None:
        """Send to the browser, from any thread."""
        if not self._is_closed:
            self._document.add_next_tick_callback(lambda: self.face.tell(kind, **content))


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """The value as JSON carries it."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return plain


def _field_of(error: TekNavError) -> str | None:
    """Which field of a form an error is about: it begins with the field's name."""
    found = re.match(r"(?:action: \w+: )?([a-z_]+): ", str(error))
    return found and found[1]


def _told(outcome: Outcome) -> Answer:
    answer: Answer = {"ok": True, "text": outcome.text, "data": _plain(dict(outcome.data))}
    if outcome.undo is not None:
        answer["undo"] = {"action": outcome.undo[0], "args": outcome.undo[1]}
    return answer
