"""What routes ask for: who is there and may do it, and this process's services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation, searched_text
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


def _needs(operation: Operation) -> Callable[[Request], Awaitable[Identity]]:
    # Asynchronous, so that it costs no thread: it asks nobody.
    async def check(request: Request) -> Identity:
        identity = identity_of(request)
        try:
            identity.require(operation)
        except NotAllowed:
            await run_sync(lambda: _record(request, identity, operation))
            raise
        return identity

    check.operation = operation  # type: ignore[attr-defined]
    return check


def _record(request: Request, identity: Identity, operation: Operation) -> None:
    services_of(request).entrance.refusals.record(
        "user.refused", actor=identity.operator.name, address=request.state.origin.address,
        operation=operation.value, method=request.method, path=request.url.path,
    )  # fmt: skip


async def _services(request: Request) -> Services:
    return services_of(request)


MayRead = Annotated[Identity, Depends(_needs(Operation.READ))]
MayReadPayloads = Annotated[Identity, Depends(_needs(Operation.READ_PAYLOADS))]
MayAct = Annotated[Identity, Depends(_needs(Operation.ACT))]
MayEnqueue = Annotated[Identity, Depends(_needs(Operation.ENQUEUE))]
MayScrape = Annotated[Identity, Depends(_needs(Operation.METRICS))]
FromServices = Annotated[Services, Depends(_services)]


async def _searched_text(identity: MayRead, text: Text = None) -> str | None:
    return searched_text(identity.operator, text)


#: The query parameter `text`. Who may not read payloads may not search in them either.
SearchedText = Annotated[str | None, Depends(_searched_text)]
