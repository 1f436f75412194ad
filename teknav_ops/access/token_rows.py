"""Tokens as they stand in SQL, and what is told of them."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import Row

from teknav_ops.access.policy import COMES_WITH, Operation, Role
from teknav_ops.access.quota import Quota
from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import QueuePatterns
from teknav_ops.storage.tables import AccessToken, AccessUser
from teknav_ops.storage.tables.base import utc_now

#: Columns, not objects of the ORM: that halves what it costs, and it is asked at every request.
TOKENS: Final = select(
    AccessToken.__table__,
    AccessUser.name.label("owner"),
    AccessUser.role.label("owner_role"),
    AccessUser.disabled_at.label("owner_disabled_at"),
).outerjoin(AccessUser, AccessUser.id == AccessToken.owner_id)


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


def token_of(row: Row[Any]) -> Token:
    """What is told of a token."""
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
