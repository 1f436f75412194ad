"""Requests that say one thing once: of two equal keys, parameters or headers nobody can know which was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import unique_keys

#: What callers send of their own accord and this program reads.
_HEADERS: Final = ("Idempotency-Key",)


class _ExactRequest(Request):
    """A request in whose JSON body a key stands once in an object."""

    async def json(self) -> Any:
        """The body. Raises DoubledKey."""
        if not hasattr(self, "_json"):
            self._json = unique_keys.loads(await self.body())
        return self._json


class ExactRoute(APIRoute):
    """A route that refuses what is given twice."""

    #: Parameters that may be repeated, for several values.
    repeated: frozenset[str] = frozenset()

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler, behind the check."""
        handle = super().get_route_handler()
        single = frozenset(_parameters(self.dependant)) - self.repeated

        async def exact(request: Request) -> Response:
            _check_once(request, single)
            return await handle(_ExactRequest(request.scope, request.receive))

        return exact


def _parameters(dependant: Dependant) -> Iterator[str]:
    """Names of the query parameters that a route and what it depends on read. Others are nobody's, however often."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _check_once(request: Request, parameters: frozenset[str]) -> None:
    for name in _HEADERS:
        if len(request.headers.getlist(name)) > 1:
            field = name.lower().replace("-", "_")
            raise InvalidRequest(f"{field}: the header {name} is sent more than once; send it once")
    counts = Counter(name for name, _ in request.query_params.multi_items() if name in parameters)
    for name, count in counts.items():
        if count > 1:
            raise InvalidRequest(f"{name}: is given {count} times; give it once")
