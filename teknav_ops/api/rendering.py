"""Answers made into JSON where they are read, in one go: for routes that are asked often."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from pydantic import BaseModel
from starlette.responses import Response

Parameters = ParamSpec("Parameters")


def rendered(*, exclude: Any = None) -> Callable[[Callable[Parameters, BaseModel]], Callable[Parameters, Response]]:
    """Answer with the model's JSON as it is.

    Left to itself, FastAPI hands the model to another thread, validates it a second time and dumps it there: half of
    what a small read costs. The route's `response_model` still describes it, and tests compare the two.
    """

    def decorate(function: Callable[Parameters, BaseModel]) -> Callable[Parameters, Response]:
        @functools.wraps(function)
        def render(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Response:
            model = function(*args, **kwargs)
            return Response(model.model_dump_json(by_alias=True, exclude=exclude), media_type="application/json")

        return render

    return decorate
