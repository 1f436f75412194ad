"""Users who may sign in, and the tokens of programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, utc_now


class AccessUser(Base):
    """A person. `name_key` is the name as it is compared. Sessions of an older `epoch` are void."""

    __tablename__ = "access_user"
    # An id must never mean another person: sessions carry it.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    name_key: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(20))
    #: Patterns of the queues that the role is for.
    queues: Mapped[list[Any]] = mapped_column(server_default=text("'[\"*\"]'"))
    epoch: Mapped[int] = mapped_column(default=1)
    disabled_at: Mapped[datetime | None]
    signed_in_at: Mapped[datetime | None]
    password_changed_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AccessToken(Base):
    """A program's token: only its hash is kept, and its beginning to recognise it by. Names of live ones are unique."""

    __tablename__ = "access_token"
    __table_args__ = (
        Index(
            "uq_access_token_name_live", "name", unique=True,
            sqlite_where=text("revoked_at IS NULL"), postgresql_where=text("revoked_at IS NULL"),
        ),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    beginning: Mapped[str] = mapped_column(String(12))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[list[Any]]
    #: Patterns of the queues that the scopes are for.
    queues: Mapped[list[Any]] = mapped_column(server_default=text("'[\"*\"]'"))
    jobs_per_minute: Mapped[int | None]
    backlog_limit: Mapped[int | None]
    #: The user in whose place it acts; None for one that belongs to whoever runs the server.
    owner_id: Mapped[int | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AccessTotp(Base):
    """The key of a user's authenticator app, encrypted. `last_step` is the period of the newest code accepted."""

    __tablename__ = "access_totp"

    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed_key: Mapped[str] = mapped_column(Text)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AccessRecoveryCode(Base):
    """A code that signs in once in place of the app's. Only its hash is kept."""

    __tablename__ = "access_recovery_code"
    __table_args__ = (UniqueConstraint("user_id", "code_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None]
