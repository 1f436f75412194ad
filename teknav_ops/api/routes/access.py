"""Who may do what: users, their sessions, and tokens. No token may see or change them; changes need a fresh sign-in."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from teknav_ops.api.dependencies import FromServices, MayAdminister
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models import PageOf
from teknav_ops.api.models_access import (
    EndedSessions,
    MadeToken,
    NewPassword,
    NewRole,
    NewToken,
    NewUser,
    OpenSessions,
    SessionModel,
    TokenModel,
    UserModel,
)
from teknav_ops.api.parameters import PLAIN, Limit, PageCursor
from teknav_ops.api.problems import answers

router = APIRouter(prefix="/api/owner/access", tags=["access"], route_class=ExactRoute)

UserName = Annotated[str, Path(max_length=100, pattern=PLAIN, description="The user's name.")]
TokenName = Annotated[str, Path(max_length=100, pattern=PLAIN, description="The token's name.")]
SessionHandle = Annotated[str, Path(max_length=100, pattern=PLAIN, description="The session's handle.")]


@router.get(
    "/users",
    operation_id="list_users",
    summary="Users, their roles and queues",
    responses=answers(),
    response_model=PageOf[UserModel],
)
def list_users(
    services: FromServices, _: MayAdminister, cursor: PageCursor = None, limit: Limit = 50
) -> PageOf[UserModel]:
    """Who may sign in with a password here, by name. People of the single sign-on are the provider's."""
    page = services.entrance.users.page(cursor=cursor, limit=limit)
    return PageOf[UserModel].of(page, [UserModel.of(user) for user in page.items])


@router.get(
    "/tokens",
    operation_id="list_tokens",
    summary="Tokens, their limits and last use",
    responses=answers(),
    response_model=PageOf[TokenModel],
)
def list_tokens(
    services: FromServices, _: MayAdminister, cursor: PageCursor = None, limit: Limit = 50
) -> PageOf[TokenModel]:
    """Programs' keys to this API, newest first, and behind them those that are revoked."""
    page = services.entrance.tokens.page(cursor=cursor, limit=limit)
    return PageOf[TokenModel].of(page, [TokenModel.of(token) for token in page.items])


@router.post(
    "/users",
    operation_id="add_user",
    summary="Add a user",
    status_code=201,
    responses=answers(),
    response_model=UserModel,
)
def add_user(body: NewUser, services: FromServices, identity: MayAdminister) -> UserModel:
    """The name must be free, and the password strong enough."""
    users, by = services.entrance.users, identity.operator
    return UserModel.of(users.add(by, body.name, body.role, body.password, queues=body.queues))


@router.delete("/users/{user}", operation_id="remove_user", summary="Remove a user", responses=answers(404, 409))
def remove_user(user: UserName, services: FromServices, identity: MayAdminister) -> EndedSessions:
    """What they did stays in the audit trail under their name. The last owner stays."""
    return EndedSessions(sessions_ended=services.entrance.users.remove(identity.operator, user))


@router.put(
    "/users/{user}/role", operation_id="set_user_role", summary="Change a user's role", responses=answers(404, 409)
)
def set_user_role(user: UserName, body: NewRole, services: FromServices, identity: MayAdminister) -> EndedSessions:
    """And the queues that it is for; signs the user out everywhere."""
    users = services.entrance.users
    return EndedSessions(sessions_ended=users.set_role(identity.operator, user, body.role, queues=body.queues))


@router.put(
    "/users/{user}/password",
    operation_id="set_user_password",
    summary="Change a user's password",
    responses=answers(404),
)
def set_user_password(
    user: UserName, body: NewPassword, services: FromServices, identity: MayAdminister
) -> EndedSessions:
    """Signs the user out everywhere."""
    users = services.entrance.users
    return EndedSessions(sessions_ended=users.set_password(identity.operator, user, body.password))


@router.put(
    "/users/{user}/disabled", operation_id="disable_user", summary="Let a user in no more", responses=answers(404, 409)
)
def disable_user(user: UserName, services: FromServices, identity: MayAdminister) -> EndedSessions:
    """Signs the user out everywhere, and revokes their tokens. The last owner stays."""
    return EndedSessions(sessions_ended=services.entrance.users.disable(identity.operator, user))


@router.delete(
    "/users/{user}/disabled", operation_id="enable_user", summary="Let a user in again", responses=answers(404)
)
def enable_user(user: UserName, services: FromServices, identity: MayAdminister) -> UserModel:
    """Who was disabled may sign in again."""
    services.entrance.users.enable(identity.operator, user)
    return UserModel.of(services.entrance.users.named(user))


@router.delete(
    "/users/{user}/second-factor",
    operation_id="reset_second_factor",
    summary="Take a second factor away",
    status_code=204,
    responses=answers(404),
)
def reset_second_factor(user: UserName, services: FromServices, identity: MayAdminister) -> None:
    """For who has lost phone and recovery codes."""
    services.entrance.factors.reset(identity.operator, user)


@router.get(
    "/users/{user}/sessions", operation_id="list_sessions", summary="Where a user is signed in", responses=answers(404)
)
def list_sessions(user: UserName, services: FromServices, identity: MayAdminister) -> OpenSessions:
    """Also of one who came through single sign-on."""
    found = services.entrance.signed_in.of(identity.operator, user)
    return OpenSessions(items=[SessionModel.of(session) for session in found])


@router.delete(
    "/users/{user}/sessions", operation_id="end_sessions", summary="Sign a user out everywhere", responses=answers(404)
)
def end_sessions(user: UserName, services: FromServices, identity: MayAdminister) -> EndedSessions:
    """Also one who came through single sign-on; of one's own, the session that asks stays."""
    signed_in = services.entrance.signed_in
    return EndedSessions(sessions_ended=signed_in.end_all(identity.operator, user, but=identity.session_id))


@router.delete(
    "/users/{user}/sessions/{session}",
    operation_id="end_session",
    summary="End one session",
    status_code=204,
    responses=answers(404),
)
def end_session(user: UserName, session: SessionHandle, services: FromServices, identity: MayAdminister) -> None:
    """One of those that are listed."""
    services.entrance.signed_in.end(identity.operator, user, session)


@router.post(
    "/tokens",
    operation_id="create_token",
    summary="Create a token",
    status_code=201,
    responses=answers(),
    response_model=MadeToken,
)
def create_token(body: NewToken, services: FromServices, identity: MayAdminister) -> MadeToken:
    """The answer holds its secret, this once."""
    secret, token = services.entrance.tokens.create(
        identity.operator,
        body.name,
        role=body.role,
        scopes=body.scopes,
        life=None if body.expires_in_days is None else timedelta(days=body.expires_in_days),
        queues=body.queues,
        jobs_per_minute=body.jobs_per_minute,
        backlog_limit=body.backlog_limit,
        owner=body.owner,
    )
    return MadeToken(secret=secret, token=TokenModel.of(token))


@router.delete(
    "/tokens/{token}", operation_id="revoke_token", summary="Revoke a token", status_code=204, responses=answers(404)
)
def revoke_token(token: TokenName, services: FromServices, identity: MayAdminister) -> None:
    """It is accepted no more, from now on."""
    services.entrance.tokens.revoke(identity.operator, token)
