"""Answers made into JSON where they are read, in one go: for routes that are asked often."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec

from pydantic import BaseModel
from starlette.responses import Response

from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import SOME_QUEUE, Operation
from teknav_ops.api.services import Services

Parameters = ParamSpec("Parameters")


def rendered(
    *, exclude: Any = None, shared: bool = False
) -> Callable[[Callable[Parameters, BaseModel]], Callable[Parameters, Response]]:
    """Answer with the model's JSON as it is.

    Left to itself, FastAPI hands the model to another thread, validates it a second time and dumps it there: half of
    what a small read costs. The route's `response_model` still describes it, and tests compare the two.

    With `shared`, those who ask the same at the same time share one reading. Only for answers that depend on who asks
    in nothing but which payloads they may read.
    """

    def decorate(function: Callable[Parameters, BaseModel]) -> Callable[Parameters, Response]:
        @functools.wraps(function)
        def render(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Response:
            def read() -> bytes:
                return function(*args, **kwargs).model_dump_json(by_alias=True, exclude=exclude).encode()

            services = kwargs.get("services")
            if shared and isinstance(services, Services):
                return Response(services.flights.get(_question(function, kwargs), read), media_type="application/json")
            return Response(read(), media_type="application/json")

        return render

    return decorate


def _sight(identity: Identity) -> Hashable:
    """What of an identity an answer may depend on."""
    return identity.may(Operation.READ_PAYLOADS, SOME_QUEUE), identity.operator.queues


def _question(function: Callable[..., BaseModel], arguments: dict[str, Any]) -> Hashable:
    """What makes two requests the same one."""
    told = [
        (name, _sight(value) if isinstance(value, Identity) else value)
        for name, value in arguments.items()
        if not isinstance(value, Services)
    ]
    return (function, *told)
