"""API tokens: for programs. 256 random bits each, so a plain SHA-256 is enough to keep them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from teknav_ops.access.policy import COMES_WITH, Operation, Operator, Role, is_allowed, require
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest
from teknav_ops.storage.tables import AccessToken
from teknav_ops.storage.tables.base import utc_now

BEGINNING: Final = "tko_"
_SHOWN_CHARACTERS: Final = 8
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
#: What may be asked for; READ_PAYLOADS comes with READ, and MANAGE with ACT, where the role allows it.
SCOPES: Final = (Operation.READ, Operation.ACT, Operation.ENQUEUE, Operation.METRICS)
#: A use is written down at most this often: reading must not become writing.
_COARSE_USE: Final = timedelta(minutes=5)
LONGEST_LIFE: Final = timedelta(days=3_650)
#: Asked at every request. Columns, not an object of the ORM: that halves what it costs.
_BY_HASH: Final = select(AccessToken.__table__).where(AccessToken.token_hash == bindparam("token_hash"))


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
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_by: str
    created_at: datetime


class Tokens:
    """Creates, lists, revokes and recognises tokens."""

    def __init__(self, operator_log: OperatorLog) -> None:
        self._log = operator_log
        self._database = operator_log.database

    def all(self) -> list[Token]:
        """Every token, newest first, revoked ones too."""
        with self._database.reading() as session:
            return [_token(row) for row in session.scalars(select(AccessToken).order_by(AccessToken.id.desc()))]

    def create(
        self, by: Operator, name: str, *, role: Role, scopes: Iterable[Operation], life: timedelta | None
    ) -> tuple[str, Token]:
        """Create a token; answers its secret, which is kept nowhere. `life` None: it never expires.

        Raises:
            InvalidRequest: the name is wrong or taken, a scope goes beyond the role, or the life is not positive.
        """
        require(by, Operation.ADMINISTER)
        wanted = _checked(name, role, scopes, life)
        secret = BEGINNING + secrets.token_urlsafe(32)
        expires_at = None if life is None else utc_now() + life
        row = AccessToken(
            name=name, beginning=secret[:_SHOWN_CHARACTERS], token_hash=_hash(secret), role=role.value,
            scopes=wanted, expires_at=expires_at, created_by=by.name,
        )  # fmt: skip
        facts: dict[str, Any] = {
            "token": name, "role": role.value, "scopes": wanted, "expires_at": expires_at and expires_at.isoformat(),
        }  # fmt: skip
        try:
            with self._log.record("token.created", actor=by.name, **facts), self._database.session() as session:
                session.add(row)
                session.flush()
                return secret, _token(row)
        except IntegrityError:
            raise InvalidRequest(f"name: there is a token {name!r} already; revoke it first") from None

    def revoke(self, by: Operator, name: str) -> None:
        """Accept the token no more, from now on. Raises UnknownToken."""
        require(by, Operation.ADMINISTER)
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
        if token is None or not _is_live(token):
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
            rows = session.scalars(select(AccessToken).where(AccessToken.id.in_(list(token_ids))))
            return {row.id for row in rows if _is_live(_token(row))}


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


def _is_live(token: Token) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > utc_now())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _token(row: AccessToken | Row[Any]) -> Token:
    scopes = {Operation(scope) for scope in row.scopes}
    role = Role(row.role)
    scopes |= {COMES_WITH[scope] for scope in scopes if scope in COMES_WITH}
    return Token(
        row.id, row.name, row.beginning, role, frozenset(scopes), row.expires_at, row.last_used_at, row.revoked_at,
        row.created_by, row.created_at,
    )  # fmt: skip
