"""Who is signed in where: one's own sessions, and for an OWNER those of anybody; shown, and ended."""

from __future__ import annotations

from teknav_ops.access.policy import Operation, Operator, require, require_to_administer
from teknav_ops.access.sessions import OpenSession, Sessions
from teknav_ops.access.user_names import name_key
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest


class UnknownSession(InvalidRequest):
    """The user has no open session of that name: it has ended, or never was."""


class SignedIn:
    """Shows and ends sessions. Everybody may do so with their own; with others', who may manage users."""

    def __init__(self, operator_log: OperatorLog, sessions: Sessions) -> None:
        self._log = operator_log
        self._sessions = sessions

    def of(self, by: Operator, name: str) -> list[OpenSession]:
        """The open sessions of a name, whichever way they came, the last used first."""
        is_own = name_key(by.name) == name_key(name)
        require(by, Operation.READ if is_own else Operation.ADMINISTER)
        return self._sessions.of(name)

    def end(self, by: Operator, name: str, handle: str) -> None:
        """End one session of a name. Raises UnknownSession."""
        _require(by, name)
        found = [session for session in self._sessions.of(name) if session.handle == handle]
        if not found:
            raise UnknownSession(f"session: {name} has no open session {handle!r}; it may have ended a moment ago")
        with self._log.record("user.session_ended", actor=by.name, user=name, session=handle):
            for session in found:
                self._sessions.end(session.id)

    def end_all(self, by: Operator, name: str, *, but: str | None = None) -> int:
        """End all sessions of a name, but for the one with this id; answers how many were open."""
        _require(by, name)
        with self._log.record("user.sessions_ended", actor=by.name, user=name) as entry:
            ended = self._sessions.end_all(name, but=but)
            entry.note(ended=ended)
        return ended


def _require(by: Operator, name: str) -> None:
    if name_key(by.name) == name_key(name):
        require(by, Operation.READ)
    else:
        require_to_administer(by)
