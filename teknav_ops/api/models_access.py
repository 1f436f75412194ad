"""What the routes of users and tokens take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from teknav_ops.access.devices import device_of
from teknav_ops.access.policy import Operation, Role
from teknav_ops.access.sessions import OpenSession
from teknav_ops.access.token_rows import Token
from teknav_ops.access.tokens import SCOPES
from teknav_ops.access.user_rows import User
from teknav_ops.api.models import RequestBody

_Queues = Annotated[
    list[str] | None,
    Field(max_length=50, description="Only these queues, by name or pattern.", examples=[["webhooks:*"]]),
]


class UserModel(BaseModel):
    """A user. `queues` are patterns of the queues that the role is for; `["*"]` is all."""

    name: str
    role: Role
    queues: list[str] = Field(examples=[["webhooks:*"]])
    disabled_at: datetime | None
    signed_in_at: datetime | None
    password_changed_at: datetime
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> UserModel:
        """As it is shown."""
        return cls.model_validate(user, from_attributes=True)


class TokenModel(BaseModel):
    """A token without its secret. `state` is `live`, or why it is not accepted: `revoked`, `expired`, `owner gone`."""

    name: str
    beginning: str = Field(examples=["tko_Ab3d"])
    role: Role
    scopes: list[str] = Field(examples=[["enqueue"]])
    queues: list[str] = Field(examples=[["webhooks:*"]])
    jobs_per_minute: int | None
    backlog_limit: int | None
    state: str
    owner: str | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To five minutes.")
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, token: Token) -> TokenModel:
        """As it is shown: the scopes that were asked for, without what comes with them."""
        shown = {name: getattr(token, name) for name in cls.model_fields if name != "scopes"}
        return cls(scopes=sorted(set(SCOPES) & token.scopes), **shown)


class NewUser(BaseModel):
    """Somebody who may sign in with a password. `queues` limits an OPERATOR."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "omid", "role": "OPERATOR", "password": "a long one, typed once"}]},
    )

    name: str
    role: Role
    password: str = Field(min_length=12, max_length=1_000)
    queues: _Queues = None


class NewRole(BaseModel):
    """Another role. `queues` limits an OPERATOR; without, the role is for every queue."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"role": "OPERATOR", "queues": ["webhooks:*"]}]}
    )

    role: Role
    queues: _Queues = None


class NewPassword(BaseModel):
    """A password in place of the one before."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"password": "another long one, typed once"}]}
    )

    password: str = Field(min_length=12, max_length=1_000)


class EndedSessions(BaseModel):
    """How many sessions of the user were ended by the change."""

    sessions_ended: int


class SessionModel(BaseModel):
    """Where a user is signed in. `session` names it when it is to be ended."""

    session: str
    device: str
    how: str
    address: str
    opened_at: datetime
    used_at: datetime
    ends_at: datetime

    @classmethod
    def of(cls, session: OpenSession) -> SessionModel:
        """As it is shown."""
        way = session.way
        return cls(
            session=session.handle,
            device=device_of(way.agent),
            how=way.how,
            address=way.address,
            opened_at=session.opened_at,
            used_at=session.used_at,
            ends_at=session.ends_at,
        )


class OpenSessions(BaseModel):
    """The open sessions of a user, the last used first."""

    items: list[SessionModel]


class NewToken(RequestBody):
    """A program's key. It acts in place of `owner`, or of whoever creates it, and ends with them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "shop", "scopes": ["enqueue"]}]})

    name: str
    scopes: list[Operation] = Field(max_length=20, description=f"One or more of {', '.join(SCOPES)}.")
    role: Role | None = Field(None, description="null: the least that the scopes need. Only an OWNER's reads payloads.")
    expires_in_days: int | None = Field(90, ge=1, le=3_650, description="null: it never expires.")
    queues: _Queues = None
    jobs_per_minute: int | None = None
    backlog_limit: int | None = None
    owner: str | None = None


class MadeToken(BaseModel):
    """The token, and its secret: shown this once and kept nowhere."""

    secret: str
    token: TokenModel
