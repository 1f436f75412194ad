"""Users as they stand in SQL: rows, what is told of them, and what is locked while one is changed."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session as SqlSession

from teknav_ops.access.policy import Role
from teknav_ops.access.user_names import name_key
from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import QueuePatterns
from teknav_ops.storage.tables import AccessToken, AccessUser
from teknav_ops.storage.tables.base import utc_now


class UnknownUser(InvalidRequest):
    """There is no user of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"name: there is no user {name!r}; see `teknav users list`")


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """A user, without the password's hash."""

    id: int
    name: str
    role: Role
    queues: QueuePatterns
    epoch: int
    disabled_at: datetime | None
    signed_in_at: datetime | None
    password_changed_at: datetime
    created_by: str
    created_at: datetime


def user_of(row: AccessUser) -> User:
    """What is told of a user."""
    since = row.disabled_at, row.signed_in_at, row.password_changed_at, row.created_by, row.created_at
    return User(row.id, row.name, Role(row.role), tuple(row.queues), row.epoch, *since)


def locked(session: SqlSession, name: str) -> AccessUser:
    """The user's row, which nobody else changes until the transaction ends. Raises UnknownUser."""
    row = session.scalars(select(AccessUser).where(AccessUser.name_key == name_key(name)).with_for_update()).first()
    if row is None:
        raise UnknownUser(name)
    return row


def locked_owners(session: SqlSession) -> list[int]:
    """The owners who can sign in, locked in one order, so that two who disable each other cannot both succeed."""
    owners = select(AccessUser.id).where(AccessUser.role == Role.OWNER.value, AccessUser.disabled_at.is_(None))
    return list(session.scalars(owners.order_by(AccessUser.id).with_for_update()))


def revoke_tokens(session: SqlSession, user_id: int) -> int:
    """A token acts in place of its owner, and no longer than that; answers how many were revoked."""
    live = update(AccessToken).where(AccessToken.owner_id == user_id, AccessToken.revoked_at.is_(None))
    return len(session.execute(live.values(revoked_at=utc_now()).returning(AccessToken.id)).all())
