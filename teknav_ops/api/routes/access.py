"""Who may do what: users and tokens, to look at. The command line changes them; no token may see them."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from teknav_ops.access.policy import Role
from teknav_ops.access.tokens import SCOPES, Token
from teknav_ops.access.users import User
from teknav_ops.api.dependencies import FromServices, MayAdminister
from teknav_ops.api.problems import answers

router = APIRouter(prefix="/api/owner/access", tags=["access"])


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


class Users(BaseModel):
    """Every user, by name."""

    items: list[UserModel]


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


class Tokens(BaseModel):
    """Every token, newest first, those that are accepted no more too."""

    items: list[TokenModel]


@router.get("/users", operation_id="list_users", summary="Users, their roles and queues", responses=answers())
def list_users(services: FromServices, _: MayAdminister) -> Users:
    """Who may sign in with a password here. People of the single sign-on are the provider's."""
    return Users(items=[UserModel.of(user) for user in services.entrance.users.all()])


@router.get("/tokens", operation_id="list_tokens", summary="Tokens, their limits and last use", responses=answers())
def list_tokens(services: FromServices, _: MayAdminister) -> Tokens:
    """Programs' keys to this API."""
    return Tokens(items=[TokenModel.of(token) for token in services.entrance.tokens.all()])
