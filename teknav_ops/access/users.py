"""Users: who may sign in, as which role. Every change is recorded with the operator's name before it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from teknav_ops.access.actors import is_system_actor
from teknav_ops.access.passwords import check_strength, hash_password, is_outdated
from teknav_ops.access.policy import Operation, Operator, Role, require, require_to_administer
from teknav_ops.access.sessions import Sessions
from teknav_ops.access.user_names import checked_name, name_key
from teknav_ops.access.user_rows import UnknownUser, User, locked, locked_owners, revoke_tokens, user_of
from teknav_ops.audit.operator_log import OperatorAction, OperatorLog
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.jobs.paging import Page, check_limit, check_texts
from teknav_ops.queue_patterns import QueuePatterns, checked_patterns
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.storage.tables import AccessRecoveryCode, AccessTotp, AccessUser
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.access")


class Users:
    """Adds, changes and finds users. What takes a right away ends the user's sessions."""

    def __init__(self, operator_log: OperatorLog, sessions: Sessions) -> None:
        self._log = operator_log
        self._database = operator_log.database
        self._sessions = sessions

    def page(self, *, cursor: str | None = None, limit: int = 50) -> Page[User]:
        """Users by name, after `cursor`. Raises InvalidRequest for what is no limit or cursor."""
        check_limit(limit)
        check_texts(cursor=cursor)
        wanted = select(AccessUser).order_by(AccessUser.name_key).limit(limit + 1)
        if cursor is not None:
            wanted = wanted.where(AccessUser.name_key > cursor)
        with self._database.reading() as session:
            found = list(session.scalars(wanted))
        shown = found[:limit]
        next_cursor = shown[-1].name_key if len(found) > limit else None
        return Page([user_of(row) for row in shown], next_cursor, self.count())

    def count(self) -> int:
        """How many users there are, disabled ones too."""
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(AccessUser)) or 0

    def find(self, name: str) -> tuple[User, str] | None:
        """The user of that name and the hash of the password."""
        with self._database.reading() as session:
            row = session.scalars(select(AccessUser).where(AccessUser.name_key == name_key(name))).first()
            return None if row is None else (user_of(row), row.password_hash)

    def named(self, name: str) -> User:
        """The user of that name. Raises UnknownUser."""
        found = self.find(name)
        if found is None:
            raise UnknownUser(name)
        return found[0]

    def by_id(self, user_id: int) -> User | None:
        """The user with that id."""
        with self._database.reading() as session:
            row = session.get(AccessUser, user_id)
            return None if row is None else user_of(row)

    def add(
        self,
        by: Operator,
        name: str,
        role: Role,
        password: str,
        *,
        queues: Iterable[str] | None = None,
        only_as_first: bool = False,
    ) -> User:
        """Add a user. `queues` limits an OPERATOR to queues. With `only_as_first`, only while there is none.

        Raises:
            InvalidRequest: the name is wrong or taken, the password too weak, or `queues` fits neither role nor
            queues. WrongState: there are users already.
        """
        require_to_administer(by)
        kept = checked_name(name)
        kept_queues = _checked_queues(role, queues)
        if is_system_actor(kept):
            raise InvalidRequest(f"name: {kept!r} is what the system itself goes by")
        check_strength(password, kept)
        who = {"name": kept, "name_key": name_key(kept), "created_by": by.name}
        rights: dict[str, Any] = {"role": role.value, "queues": list(kept_queues)}
        row = AccessUser(**who, **rights, password_hash=hash_password(password))
        try:
            with self._log.record("user.added", actor=by.name, user=kept, **rights) as entry:
                with self._database.session() as session:
                    if only_as_first and session.scalar(select(AccessUser.id).limit(1)) is not None:
                        raise WrongState("there is an owner already: sign in, or ask for `teknav users link NAME`")
                    session.add(row)
                    session.flush()
                    added = user_of(row)
                    # Whoever came through single sign-on under this name is somebody else from now on; and once more
                    # for those who come until this is committed. A process that dies in between leaves none behind.
                    self._sessions.end_all(kept)
                self._end_late(kept, entry)
        except IntegrityError:
            raise InvalidRequest(f"name: there is a user {kept!r} already") from None
        return added

    def set_password(self, by: Operator, name: str, password: str) -> int:
        """Change a password; answers how many sessions that ended. Raises UnknownUser, InvalidRequest."""
        require_to_administer(by)
        check_strength(password, self.named(name).name)
        values = {"password_hash": hash_password(password), "password_changed_at": utc_now()}
        return self._change(by, "user.password_changed", name, values)

    def set_own_password(self, by: Operator, password: str, *, session_id: str) -> int:
        """Change the password of whoever asks, who has shown to know the old one. The session `session_id` stays.

        Raises as `set_password`.
        """
        require(by, Operation.READ)
        check_strength(password, by.name)
        values = {"password_hash": hash_password(password), "password_changed_at": utc_now()}
        return self._write("user.password_changed", by, by.name, values, keep=session_id)

    def set_role(self, by: Operator, name: str, role: Role, *, queues: Iterable[str] | None = None) -> int:
        """Change a role, and the queues that it is for; answers how many sessions that ended.

        Raises:
            UnknownUser. WrongState: it is the last owner. InvalidRequest: `queues` fits neither role nor queues.
        """
        require_to_administer(by)
        values = {"role": role.value, "queues": list(_checked_queues(role, queues))}
        return self._change(by, "user.role_changed", name, values, **values)

    def disable(self, by: Operator, name: str) -> int:
        """Let the user in no more; answers how many sessions that ended, 0 where it holds already.

        Raises UnknownUser; WrongState for the last owner.
        """
        return self._change(by, "user.disabled", name, {"disabled_at": utc_now()})

    def enable(self, by: Operator, name: str) -> None:
        """Let the user in again. Raises UnknownUser."""
        self._change(by, "user.enabled", name, {"disabled_at": None})

    def remove(self, by: Operator, name: str) -> int:
        """Remove a user; what they did stays in AuditLog. Raises UnknownUser; WrongState for the last owner."""
        return self._change(by, "user.removed", name, None)

    def note_sign_in(self, user: User) -> None:
        """Write down that the user signed in."""
        with self._database.session() as session:
            session.execute(update(AccessUser).where(AccessUser.id == user.id).values(signed_in_at=utc_now()))

    def note_password(self, user: User, password: str, password_hash: str) -> None:
        """A password was right, whatever is asked for next: hash it anew where the parameters have become stronger."""
        if not is_outdated(password_hash):
            return
        # Not over a password that was changed meanwhile.
        same = (AccessUser.id == user.id, AccessUser.password_hash == password_hash)
        values = {"password_hash": hash_password(password)}
        with self._database.session() as session:
            session.execute(update(AccessUser).where(*same).values(**values))

    def _change(self, by: Operator, action: str, name: str, values: dict[str, Any] | None, **detail: Any) -> int:
        require_to_administer(by)
        return self._write(action, by, name, values, **detail)

    def _write(
        self,
        action: str,
        by: Operator,
        name: str,
        values: dict[str, Any] | None,
        *,
        keep: str | None = None,
        **detail: Any,
    ) -> int:
        """Change or remove a user. The new epoch voids all sessions but `keep`, also one opened while this runs."""
        with self._log.record(action, actor=by.name, user=name, **detail) as entry:
            with self._database.session() as session:
                owners = locked_owners(session)
                row = locked(session, name)
                if _holds_already(row, values):
                    entry.note(user=row.name, changed=False)
                    return 0
                if owners == [row.id] and _takes_ownership(values):
                    raise WrongState(f"{row.name} is the last owner who can sign in; add or enable another one first")
                row_id, kept_name, epoch = row.id, row.name, row.epoch
                if values is None:
                    for table in (AccessRecoveryCode, AccessTotp):
                        session.execute(delete(table).where(table.user_id == row.id))
                    session.execute(delete(AccessUser).where(AccessUser.id == row.id))
                else:
                    change = update(AccessUser).where(AccessUser.id == row.id).returning(AccessUser.epoch)
                    epoch = session.scalars(change.values(**values, epoch=AccessUser.epoch + 1)).one()
                revoked = revoke_tokens(session, row_id) if _takes_ownership(values) else 0
                # Before the change counts: where sessions cannot be ended, nothing is changed.
                ended = self._sessions.end_all(kept_name, but=keep)
            ended += self._end_late(kept_name, entry, keep=keep, epoch=epoch)
            entry.note(user=kept_name, sessions_ended=ended, tokens_revoked=revoked)
        return ended

    def _end_late(self, name: str, entry: OperatorAction, *, keep: str | None = None, epoch: int = 0) -> int:
        """End what was opened while the change was made; `keep` stands in the new epoch.

        The change counts by now, so an outage of Redis does not undo it: sessions of an epoch before are void.
        """
        try:
            if keep is not None:
                self._sessions.carry_over(keep, epoch=epoch)
            return self._sessions.end_all(name, but=keep)
        except OUTAGE_ERRORS as error:
            entry.note(sessions="Redis stopped answering before the last of them were ended")
            log.warning("users.sessions_left", user=name, error=f"{type(error).__name__}: {error}")
            return 0


def _holds_already(row: AccessUser, values: dict[str, Any] | None) -> bool:
    """Whether somebody is to be let in, or kept out, who is so already: nothing they have is to end for that."""
    return (
        values is not None and "disabled_at" in values and (values["disabled_at"] is None) == (row.disabled_at is None)
    )


def _takes_ownership(values: dict[str, Any] | None) -> bool:
    return (
        values is None
        or values.get("disabled_at") is not None
        or values.get("role", Role.OWNER.value) != Role.OWNER.value
    )


def _checked_queues(role: Role, queues: Iterable[str] | None) -> QueuePatterns:
    """Only an OPERATOR can be limited: an OWNER could take the limit away, and a VIEWER acts on nothing."""
    if queues is not None and role is not Role.OPERATOR:
        raise InvalidRequest(f"queues: a role of {role} is not limited to queues; only OPERATOR is")
    return checked_patterns(queues, TOPOLOGY)
