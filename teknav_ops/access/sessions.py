"""Sessions: signed-in browsers, kept in Redis under the hash of their cookie.

Ending one is deleting a key, so a stolen copy of the cookie ends with it, in every process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Final, cast

from teknav_ops.access.policy import Role
from teknav_ops.access.user_names import name_digest
from teknav_ops.queue_patterns import ALL_QUEUES, QueuePatterns
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner

_COOKIE_BYTES: Final = 32
#: Oldest end first when somebody signs in over and over.
_MOST_PER_USER: Final = 100
_LONGEST_AGENT: Final = 300
#: So much of a session's id names it among those of its user.
_HANDLE_CHARACTERS: Final = 12


@dataclasses.dataclass(frozen=True, slots=True)
class WayIn:
    """How somebody came in, to be shown to them: by password, link or provider, from where, with which browser."""

    how: str = ""
    address: str = ""
    agent: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. `user_id` is None for those who came through the OpenID provider."""

    id: str
    name: str
    role: Role
    csrf_token: str
    user_id: int | None
    epoch: int
    queues: QueuePatterns = ALL_QUEUES
    #: How long ago its person proved who they are; None: never. Nothing of what the session is.
    proved_ago_ms: int | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class OpenSession:
    """An open session as it is shown. `used_at` is exact to half a minute."""

    id: str
    way: WayIn
    opened_at: datetime
    used_at: datetime
    ends_at: datetime

    @property
    def handle(self) -> str:
        """What a person types or clicks to mean this one."""
        return self.id[:_HANDLE_CHARACTERS]


@dataclasses.dataclass(frozen=True, slots=True)
class NewSession:
    """A session just opened, with the value of its cookie, which is kept nowhere else."""

    cookie: str
    session: Session
    lasts_seconds: int


class Sessions:
    """Opens, reads and ends sessions. Raises redis-py's errors when Redis does not answer."""

    def __init__(self, client: Client, *, idle_minutes: int, hours: int) -> None:
        self._client = client
        self._runner = ScriptRunner(client)
        self._idle_ms = idle_minutes * 60_000
        self._longest_ms = hours * 3_600_000

    def open(
        self,
        name: str,
        role: Role,
        *,
        user_id: int | None,
        epoch: int,
        queues: QueuePatterns = ALL_QUEUES,
        hours: int | None = None,
        way: WayIn = WayIn(),
        is_proved: bool = True,
    ) -> NewSession:
        """Open a session with a new cookie.

        `hours` shortens its life. `is_proved`: its person has just proved who they are.
        """
        cookie, csrf_token = secrets.token_urlsafe(_COOKIE_BYTES), secrets.token_urlsafe(_COOKIE_BYTES)
        session = Session(session_id_of(cookie), name, role, csrf_token, user_id, epoch, queues)
        longest_ms = min(self._longest_ms, hours * 3_600_000) if hours else self._longest_ms
        # First in the list of what ends with the user, then alive: a death in between leaves nothing that stays open.
        self._list(session, longest_ms)
        fields = {
            "name": name,
            "role": role.value,
            "csrf": csrf_token,
            "user_id": user_id or "",
            "epoch": epoch,
            "queues": " ".join(queues),
            "how": way.how,
            "address": way.address,
            "is_proved": int(is_proved),
            "agent": way.agent[:_LONGEST_AGENT],
        }
        call = scripts.open_session(
            keys.session(session.id), idle_ms=self._idle_ms, longest_ms=longest_ms, fields=fields
        )
        self._runner.run(call)
        return NewSession(cookie, session, longest_ms // 1000)

    def _list(self, session: Session, longest_ms: int) -> None:
        listed = keys.user_sessions(name_digest(session.name))
        call = scripts.list_session(
            listed, session_id=session.id, longest_ms=longest_ms,
            kept_ms=self._longest_ms, most=_MOST_PER_USER,
        )  # fmt: skip
        for surplus_id in self._runner.run(call):
            self.end(surplus_id)
            self._client.execute_command("ZREM", listed, surplus_id)

    def find(self, cookie: str, *, is_use: bool) -> Session | None:
        """The cookie's session; None when it has ended. `is_use` puts off its idle end."""
        session_id = session_id_of(cookie)
        call = scripts.use_session(keys.session(session_id), idle_ms=self._idle_ms, is_use=is_use)
        return _parse(session_id, self._runner.run(call))

    def find_many(self, session_ids: list[str]) -> dict[str, Session]:
        """Those of these sessions that are still open; none is put off by looking."""
        calls = [
            scripts.use_session(keys.session(session_id), idle_ms=self._idle_ms, is_use=False)
            for session_id in session_ids
        ]
        found: dict[str, Session] = {}
        for session_id, answer in zip(session_ids, self._runner.run_many(calls) if calls else (), strict=True):
            if isinstance(answer, Exception):
                raise answer
            session = _parse(session_id, answer)
            if session is not None:
                found[session_id] = session
        return found

    def of(self, name: str) -> list[OpenSession]:
        """A user's open sessions, the last used first; none is put off by looking."""
        session_ids = self._listed(name)
        calls = [scripts.use_session(keys.session(one), idle_ms=self._idle_ms, is_use=False) for one in session_ids]
        answers = zip(session_ids, self._runner.run_many(calls) if calls else (), strict=True)
        found = [_shown(session_id, answer) for session_id, answer in answers]
        return sorted(filter(None, found), key=lambda session: session.used_at, reverse=True)

    def use(self, session_id: str) -> None:
        """A person did something in this session: put off its idle end."""
        self._runner.run(scripts.use_session(keys.session(session_id), idle_ms=self._idle_ms, is_use=True))

    def end(self, session_id: str) -> bool:
        """End a session everywhere. False when it had ended."""
        return bool(self._client.execute_command("UNLINK", keys.session(session_id)))

    def end_all(self, name: str, *, but: str | None = None) -> int:
        """End all of a user's sessions, but for the one with this id; answers how many were open."""
        session_ids = [session_id for session_id in self._listed(name) if session_id != but]
        ended = [self.end(session_id) for session_id in session_ids]
        if session_ids:
            # Not the whole list: somebody may have signed in meanwhile.
            self._client.execute_command("ZREM", keys.user_sessions(name_digest(name)), *session_ids)
        return sum(ended)

    def carry_over(self, session_id: str, *, epoch: int) -> bool:
        """Let a session stand in its user's new epoch: it is the one in which the change was made."""
        return bool(self._runner.run(scripts.mark_session(keys.session(session_id), fields={"epoch": epoch})))

    def prove(self, session_id: str) -> bool:
        """The session's person has just proved again who they are."""
        return bool(self._runner.run(scripts.mark_session(keys.session(session_id), now_field="proved_at_ms")))

    def _listed(self, name: str) -> list[str]:
        return cast(list[str], self._client.execute_command("ZRANGE", keys.user_sessions(name_digest(name)), 0, -1))


def session_id_of(cookie: str) -> str:
    """The hash under which a cookie's session is kept."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def _parse(session_id: str, fields: dict[str, str]) -> Session | None:
    if fields.get("role") not in list(Role) or not fields.get("name"):
        return None
    user_id = fields.get("user_id")
    return Session(
        session_id, fields["name"], Role(fields["role"]), fields.get("csrf", ""),
        int(user_id) if user_id else None, int(fields.get("epoch") or 0), tuple(fields.get("queues", "*").split()),
        _proved_ago_ms(fields),
    )  # fmt: skip


def _proved_ago_ms(fields: dict[str, str]) -> int | None:
    opened_at = fields.get("opened_at_ms") if fields.get("is_proved") == "1" else None
    proved_at = fields.get("proved_at_ms") or opened_at
    return None if proved_at is None else int(fields["at_ms"]) - int(proved_at)


def _shown(session_id: str, answer: dict[str, str] | Exception) -> OpenSession | None:
    if isinstance(answer, Exception):
        raise answer
    if _parse(session_id, answer) is None:
        return None
    way = WayIn(answer.get("how", ""), answer.get("address", ""), answer.get("agent", ""))
    return OpenSession(session_id, way, *(_moment(answer, name) for name in ("opened", "seen", "ends")))


def _moment(fields: dict[str, str], name: str) -> datetime:
    return datetime.fromtimestamp(int(fields.get(f"{name}_at_ms") or 0) / 1000, UTC)
