"""API tokens: for programs. 256 random bits each, so a plain SHA-256 is enough to keep them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as SqlSession

from teknav_ops.access.policy import (
    LEAST_ROLE,
    Operation,
    Operator,
    Role,
    is_allowed,
    least_role,
    require_to_administer,
)
from teknav_ops.access.quota import checked_quota
from teknav_ops.access.token_rows import TOKENS, Token, UnknownToken, token_of
from teknav_ops.access.user_names import name_key
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.paging import Page, check_limit, no_cursor
from teknav_ops.queue_patterns import checked_patterns
from teknav_ops.storage.tables import AccessToken, AccessUser
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY

BEGINNING: Final = "tko_"
_SHOWN_CHARACTERS: Final = 8
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
#: What may be asked for; READ_PAYLOADS comes with READ, and MANAGE with ACT, where the role allows it.
SCOPES: Final = (Operation.READ, Operation.ACT, Operation.ENQUEUE, Operation.METRICS)
_CURSOR: Final = re.compile(r"(live|revoked)_([0-9]{1,18})")
#: A use is written down at most this often: reading must not become writing.
_COARSE_USE: Final = timedelta(minutes=5)
LONGEST_LIFE: Final = timedelta(days=3_650)
_BY_HASH: Final = TOKENS.where(AccessToken.token_hash == bindparam("token_hash"))


class Tokens:
    """Creates, lists, revokes and recognises tokens."""

    def __init__(self, operator_log: OperatorLog, *, viewers_allowed: bool = False) -> None:
        self._log = operator_log
        #: A token of a role that is not let in would be of no use.
        self._least_role = Role.VIEWER if viewers_allowed else Role.OPERATOR
        self._database = operator_log.database

    def page(self, *, cursor: str | None = None, limit: int = 50) -> Page[Token]:
        """Tokens, newest first, those that are not revoked before those that are; after `cursor`.

        One that is revoked between two pages may be on both. Raises InvalidRequest for what is no limit or cursor.
        """
        check_limit(limit)
        order = (AccessToken.revoked_at.is_not(None), AccessToken.id.desc())
        wanted = TOKENS.where(_after(cursor)).order_by(*order).limit(limit + 1)
        with self._database.reading() as session:
            found = [token_of(row) for row in session.execute(wanted)]
            count = session.scalar(select(func.count()).select_from(AccessToken)) or 0
        shown = found[:limit]
        return Page(shown, _cursor_of(shown[-1]) if len(found) > limit else None, count)

    def create(
        self,
        by: Operator,
        name: str,
        *,
        role: Role | None,
        scopes: Iterable[Operation],
        life: timedelta | None,
        queues: Iterable[str] | None = None,
        jobs_per_minute: int | None = None,
        backlog_limit: int | None = None,
        owner: str | None = None,
    ) -> tuple[str, Token]:
        """Create a token; answers its secret, which is kept nowhere. `life` None: it never expires.

        `role` None is the least that its scopes need and that is let in. It is good for `queues` only, and as long as
        its owner is an OWNER who may sign in. Without `owner` it is the user's who creates it, where that is one.

        Raises:
            InvalidRequest: the name is wrong or taken, a scope goes beyond the role, the life is not positive, or
            queues, a limit or the owner cannot be. Nothing was written.
        """
        require_to_administer(by)
        wanted = _checked(name, role, scopes, life)
        role = role or least_role(map(Operation, wanted), at_least=self._least_role)
        checked_quota(jobs_per_minute, backlog_limit, may_enqueue=Operation.ENQUEUE in wanted)
        facts: dict[str, Any] = {
            "role": role.value,
            "scopes": wanted,
            "queues": list(checked_patterns(queues, TOPOLOGY)),
            "jobs_per_minute": jobs_per_minute,
            "backlog_limit": backlog_limit,
        }
        secret = BEGINNING + secrets.token_urlsafe(32)
        expires_at = None if life is None else self._database.now() + life
        told = {"token": name, "owner": owner, "expires_at": expires_at and expires_at.isoformat(), **facts}
        try:
            recorded = self._log.record("token.created", actor=by.name, is_told_once=True, **told)
            with recorded, self._database.session() as session:
                row = AccessToken(
                    name=name, beginning=secret[:_SHOWN_CHARACTERS], token_hash=_hash(secret), expires_at=expires_at,
                    created_by=by.name, owner_id=_owner_id(session, owner, by), **facts,
                )  # fmt: skip
                session.add(row)
                session.flush()
                return secret, token_of(session.execute(TOKENS.where(AccessToken.id == row.id)).one())
        except IntegrityError:
            raise InvalidRequest(f"name: there is a token {name!r} already; revoke it first") from None

    def revoke(self, by: Operator, name: str) -> None:
        """Accept the token no more, from now on. Raises UnknownToken."""
        require_to_administer(by)
        with self._log.record("token.revoked", actor=by.name, token=name), self._database.session() as session:
            live = update(AccessToken).where(AccessToken.name == name, AccessToken.revoked_at.is_(None))
            if not session.execute(live.values(revoked_at=utc_now()).returning(AccessToken.id)).all():
                raise UnknownToken(f"name: there is no live token {name!r}; see `teknav tokens list`")

    def recognise(self, secret: str) -> Token | None:
        """The live token with this secret, and a note that it was used."""
        if not secret.startswith(BEGINNING):
            return None
        with self._database.reading() as session:
            row = session.execute(_BY_HASH, {"token_hash": _hash(secret)}).first()
            token = None if row is None else token_of(row)
        if token is None or token.state != "live":
            return None
        now = utc_now()
        if token.last_used_at is None or now - token.last_used_at > _COARSE_USE:
            with self._database.session() as session:
                stale = or_(AccessToken.last_used_at.is_(None), AccessToken.last_used_at < now - _COARSE_USE)
                session.execute(update(AccessToken).where(AccessToken.id == token.id, stale).values(last_used_at=now))
        return token

    def live_ids(self, token_ids: Iterable[int]) -> set[int]:
        """Which of these tokens are still accepted."""
        with self._database.reading() as session:
            tokens = map(token_of, session.execute(TOKENS.where(AccessToken.id.in_(list(token_ids)))))
            return {token.id for token in tokens if token.state == "live"}


def _cursor_of(token: Token) -> str:
    return f"{'live' if token.revoked_at is None else 'revoked'}_{token.id}"


def _after(cursor: str | None) -> ColumnElement[bool]:
    """What stands behind a place in the list."""
    if cursor is None:
        return true()
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise no_cursor(cursor)
    is_older, is_revoked = AccessToken.id < int(found[2]), AccessToken.revoked_at.is_not(None)
    return and_(is_revoked, is_older) if found[1] == "revoked" else or_(is_revoked, is_older)


def _checked(name: str, role: Role | None, scopes: Iterable[Operation], life: timedelta | None) -> list[str]:
    wanted = sorted(set(scopes))
    if not _NAME.fullmatch(name):
        raise InvalidRequest("name: use lower-case letters, digits, dots, dashes and underscores, 100 at most")
    if not wanted:
        raise InvalidRequest(f"scope: name one or more of {', '.join(SCOPES)}")
    for scope in wanted:
        if scope not in SCOPES:
            raise InvalidRequest(f"scope: {scope} cannot be given to a token; use {', '.join(SCOPES)}")
        if role is not None and not is_allowed(role, scope):
            raise InvalidRequest(f"scope: a {role} may not {scope}; {scope} needs the role {LEAST_ROLE[scope]}")
    if life is not None and not timedelta(0) < life <= LONGEST_LIFE:
        raise InvalidRequest(f"expires: must be between 0 and {LONGEST_LIFE.days} days, or never")
    return [scope.value for scope in wanted]


def _owner_id(session: SqlSession, owner: str | None, by: Operator) -> int | None:
    """The user in whose place a token acts, locked: nobody loses the role while the token is made."""
    found = session.scalars(
        select(AccessUser).where(AccessUser.name_key == name_key(owner or by.name)).with_for_update()
    ).first()
    is_owner = found is not None and found.role == Role.OWNER.value and found.disabled_at is None
    if owner is not None and not is_owner:
        raise InvalidRequest(f"owner: {owner!r} is no OWNER who may sign in; see `teknav users list`")
    return found.id if found is not None and is_owner else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
