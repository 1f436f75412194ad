"""What routes ask for: who is there and may do it, and this process's services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import SOME_QUEUE, Operation, searched_text
from teknav_ops.api.models_jobs import ReplayEdit
from teknav_ops.api.parameters import Text
from teknav_ops.api.services import Services
from teknav_ops.errors import NotAllowed


def services_of(connection: HTTPConnection) -> Services:
    """This process's services."""
    return cast(Services, connection.app.state.services)


def identity_of(connection: HTTPConnection) -> Identity:
    """Whom the guard let in. Raises NotAllowed where it let nobody in."""
    identity = getattr(connection.state, "identity", None)
    if identity is None:
        raise NotAllowed("sign in first")
    return cast(Identity, identity)


def _needs(operation: Operation, *, queue_is_found: bool = False) -> Callable[[Request], Awaitable[Identity]]:
    """Asks for the operation on the queue in the path; on every queue where there is none.

    With `queue_is_found` it is another part of the request that says which queue: the route asks again.
    """

    # Asynchronous, so that it costs no thread: it asks nobody.
    async def check(request: Request) -> Identity:
        identity = identity_of(request)
        queue = SOME_QUEUE if queue_is_found else request.path_params.get("queue")
        identity.require(operation, queue)
        return identity

    check.operation = operation  # type: ignore[attr-defined]
    return check


async def _services(request: Request) -> Services:
    return services_of(request)


MayRead = Annotated[Identity, Depends(_needs(Operation.READ))]
MayReadPayloads = Annotated[Identity, Depends(_needs(Operation.READ_PAYLOADS))]
MayAct = Annotated[Identity, Depends(_needs(Operation.ACT))]
MayManage = Annotated[Identity, Depends(_needs(Operation.MANAGE))]
MayEnqueue = Annotated[Identity, Depends(_needs(Operation.ENQUEUE))]
MayAdminister = Annotated[Identity, Depends(_needs(Operation.ADMINISTER))]
MayScrape = Annotated[Identity, Depends(_needs(Operation.METRICS))]
#: For routes that name a batch replay, whose queue they find themselves.
MayActOnSome = Annotated[Identity, Depends(_needs(Operation.ACT, queue_is_found=True))]
FromServices = Annotated[Services, Depends(_services)]


async def _searched_text(request: Request, identity: MayRead, text: Text = None) -> str | None:
    return searched_text(identity.operator, text, request.path_params.get("queue"))


#: The query parameter `text`. Who may not read payloads may not search in them either.
SearchedText = Annotated[str | None, Depends(_searched_text)]


async def _another_payload(request: Request, identity: MayAct, edit: ReplayEdit | None = None) -> dict[str, Any] | None:
    payload = edit.payload if edit is not None else None
    if payload is not None:
        identity.require(Operation.MANAGE, request.path_params["queue"])
    return payload


#: What replaces a job's payload. Another payload is another job: only who may manage the queue may give one.
AnotherPayload = Annotated[dict[str, Any] | None, Depends(_another_payload)]
