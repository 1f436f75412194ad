"""API tokens: for programs. 256 random bits each, so a plain SHA-256 is enough to keep them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as SqlSession

from teknav_ops.access.policy import COMES_WITH, Operation, Operator, Role, is_allowed, require_to_administer
from teknav_ops.access.quota import Quota, checked_quota
from teknav_ops.access.user_names import name_key
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import QueuePatterns, checked_patterns
from teknav_ops.storage.tables import AccessToken, AccessUser
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY

BEGINNING: Final = "tko_"
_SHOWN_CHARACTERS: Final = 8
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
#: What may be asked for; READ_PAYLOADS comes with READ, and MANAGE with ACT, where the role allows it.
SCOPES: Final = (Operation.READ, Operation.ACT, Operation.ENQUEUE, Operation.METRICS)
#: A use is written down at most this often: reading must not become writing.
_COARSE_USE: Final = timedelta(minutes=5)
LONGEST_LIFE: Final = timedelta(days=3_650)
#: Columns, not objects of the ORM: that halves what it costs, and it is asked at every request.
_TOKENS: Final = select(
    AccessToken.__table__, AccessUser.name.label("owner"), AccessUser.role.label("owner_role"),
    AccessUser.disabled_at.label("owner_disabled_at"),
).outerjoin(AccessUser, AccessUser.id == AccessToken.owner_id)  # fmt: skip
_BY_HASH: Final = _TOKENS.where(AccessToken.token_hash == bindparam("token_hash"))


class UnknownToken(InvalidRequest):
    """There is no live token of that name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: int
    name: str
    beginning: str
    role: Role
    scopes: frozenset[Operation]
    queues: QueuePatterns
    jobs_per_minute: int | None
    backlog_limit: int | None
    #: The user in whose place it acts; None for one that belongs to whoever runs the server.
    owner: str | None
    #: Whether the owner, if it has one, is still an OWNER who may sign in.
    owner_stands: bool
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_by: str
    created_at: datetime

    @property
    def state(self) -> str:
        """Whether it is accepted (`live`), and why not (`revoked`, `expired`, `owner gone`)."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= utc_now():
            return "expired"
        return "live" if self.owner_stands else "owner gone"

    @property
    def quota(self) -> Quota | None:
        """What it may make at most; None where that is not limited."""
        is_limited = self.jobs_per_minute is not None or self.backlog_limit is not None
        return Quota(self.id, self.jobs_per_minute, self.backlog_limit) if is_limited else None


class Tokens:
    """Creates, lists, revokes and recognises tokens."""

    def __init__(self, operator_log: OperatorLog) -> None:
        self._log = operator_log
        self._database = operator_log.database

    def all(self) -> list[Token]:
        """Every token, newest first, revoked ones too."""
        with self._database.reading() as session:
            return [_token(row) for row in session.execute(_TOKENS.order_by(AccessToken.id.desc()))]

    def first(self, limit: int) -> list[Token]:
        """So many tokens, newest first: those that are not revoked before those that are."""
        order = (AccessToken.revoked_at.is_not(None), AccessToken.id.desc())
        with self._database.reading() as session:
            return [_token(row) for row in session.execute(_TOKENS.order_by(*order).limit(limit))]

    def count(self) -> int:
        """How many tokens there are, revoked ones too."""
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(AccessToken)) or 0

    def create(
        self,
        by: Operator,
        name: str,
        *,
        role: Role,
        scopes: Iterable[Operation],
        life: timedelta | None,
        queues: Iterable[str] | None = None,
        jobs_per_minute: int | None = None,
        backlog_limit: int | None = None,
        owner: str | None = None,
    ) -> tuple[str, Token]:
        """Create a token; answers its secret, which is kept nowhere. `life` None: it never expires.

        It is good for `queues` only, and as long as its owner is an OWNER who may sign in. Without `owner` it is the
        user's who creates it, where that is one.

        Raises:
            InvalidRequest: the name is wrong or taken, a scope goes beyond the role, the life is not positive, or
            queues, a limit or the owner cannot be. Nothing was written.
        """
        require_to_administer(by)
        wanted = _checked(name, role, scopes, life)
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
            with self._log.record("token.created", actor=by.name, **told), self._database.session() as session:
                row = AccessToken(
                    name=name, beginning=secret[:_SHOWN_CHARACTERS], token_hash=_hash(secret), expires_at=expires_at,
                    created_by=by.name, owner_id=_owner_id(session, owner, by), **facts,
                )  # fmt: skip
                session.add(row)
                session.flush()
                return secret, _token(session.execute(_TOKENS.where(AccessToken.id == row.id)).one())
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
            token = None if row is None else _token(row)
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
            tokens = map(_token, session.execute(_TOKENS.where(AccessToken.id.in_(list(token_ids)))))
            return {token.id for token in tokens if token.state == "live"}


def _checked(name: str, role: Role, scopes: Iterable[Operation], life: timedelta | None) -> list[str]:
    wanted = sorted(set(scopes))
    if not _NAME.fullmatch(name):
        raise InvalidRequest("name: use lower-case letters, digits, dots, dashes and underscores, 100 at most")
    if not wanted:
        raise InvalidRequest(f"scope: name one or more of {', '.join(SCOPES)}")
    for scope in wanted:
        if scope not in SCOPES:
            raise InvalidRequest(f"scope: {scope} cannot be given to a token; use {', '.join(SCOPES)}")
        if not is_allowed(role, scope):
            raise InvalidRequest(f"scope: a {role} may not {scope}; use --role OWNER")
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


def _token(row: Row[Any]) -> Token:
    scopes = {Operation(scope) for scope in row.scopes}
    scopes |= {COMES_WITH[scope] for scope in scopes if scope in COMES_WITH}
    is_owner = row.owner_role == Role.OWNER.value and row.owner_disabled_at is None
    return Token(
        id=row.id,
        name=row.name,
        beginning=row.beginning,
        role=Role(row.role),
        scopes=frozenset(scopes),
        queues=tuple(row.queues),
        jobs_per_minute=row.jobs_per_minute,
        backlog_limit=row.backlog_limit,
        owner=row.owner,
        owner_stands=row.owner_id is None or is_owner,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        created_by=row.created_by,
        created_at=row.created_at,
    )
