"""Every way into the product, read from the product itself: a new one is tested without being named anywhere.

Each entry point carries the operations that its code says it needs, and whether programs (tokens) may use it.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, WebSocketRoute

import teknav_ops
from dashboards.page import Page
from dashboards.pages import PAGES
from teknav_ops.access.policy import Operation, needed_by
from teknav_ops.api.visit import is_open

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: How people are let in and out: these need no operation. Each by its whole name, so that a new one is noticed.
_WAYS_IN: Final = frozenset(
    {
        "/sign-in",
        "/sign-in/code",
        "/sign-in/confirm",
        "/sign-in/set-up",
        "/sign-in/first/{secret}",
        "/sign-in/link/{secret}",
        "/sign-out",
        "/oidc/begin",
        "/oidc/callback",
    }
)
_PAGES: Final = ("/dashboard", "/static", "/components")


@dataclasses.dataclass(frozen=True, order=True)
class EntryPoint:
    """One route: its method (WS for a socket), its path as a template, and with its parameters filled in."""

    method: str
    path: str
    template: str = dataclasses.field(default="", compare=False)
    needs: frozenset[Operation] = dataclasses.field(default=frozenset(), compare=False)
    #: Query parameters by name; those that must be given are True.
    query: tuple[tuple[str, bool], ...] = dataclasses.field(default=(), compare=False)
    #: Query parameters that take any text.
    texts: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    #: Query parameters that are one of a few, with all of them.
    choices: dict[str, list[str]] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask."""
        return self.method != "WS" and is_open(self.path)

    @property
    def is_way_in(self) -> bool:
        """Whether it signs somebody in or out."""
        return self.template in _WAYS_IN

    @property
    def is_page(self) -> bool:
        """Whether it is for people in browsers only."""
        return self.path == "/" or self.path.startswith(_PAGES)

    @property
    def is_stream(self) -> bool:
        """Whether its answer has no end."""
        return self.path.startswith("/api/realtime/")

    @property
    def changes(self) -> bool:
        """Whether it is there to change something."""
        return self.method not in SAFE and self.method != "WS" and not self.is_way_in


def entry_points_of(app: FastAPI, values: dict[str, str] | None = None) -> list[EntryPoint]:
    """All routes, mounted ones and sockets too. `values` fills in path parameters; others become `x1`."""
    found: set[EntryPoint] = set()
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        template = context.path or getattr(route, "path", "")
        path = filled(template, values or {})
        if isinstance(route, Mount):
            found.add(_entry("GET", f"{path}/some-file.js", template, None))
        elif isinstance(route, WebSocketRoute) or type(route).__name__ == "APIWebSocketRoute":
            found.add(_entry("WS", path, template, None))
        else:
            dependant = getattr(route, "dependant", None)
            for method in (context.methods or {"GET"}) - {"HEAD"}:
                found.add(_entry(method, path, template, dependant))
    return sorted(found)


def _entry(method: str, path: str, template: str, dependant: Dependant | None) -> EntryPoint:
    needs, query, choices, texts = set(), {}, {}, set()
    for part in _parts(dependant) if dependant else ():
        query |= {field.alias: field.field_info.is_required() for field in part.query_params}
        texts |= {field.alias for field in part.query_params if str in _types(field.field_info.annotation)}
        choices |= {field.alias: few for field in part.query_params if (few := _few(field.field_info.annotation))}
        if operation := needed_by(part.call):
            needs.add(operation)
    entry = EntryPoint(
        method, path, template, frozenset(needs), tuple(sorted(query.items())), tuple(sorted(texts)), choices
    )
    if entry.is_open or entry.is_way_in or method not in (*SAFE, "WS"):
        return entry
    # Whatever is read, the guard asks for the right to read before the route is reached.
    guarded = Operation.METRICS if path == "/metrics" else Operation.READ
    return dataclasses.replace(entry, needs=entry.needs | {guarded})


def _types(annotation: Any) -> set[Any]:
    """A type, or those of a union; inside lists, too."""
    parts = get_args(annotation)
    return {annotation} if not parts else {inner for part in parts for inner in _types(part)}


def _few(annotation: Any) -> list[str]:
    """The values of an enumeration or a `Literal`; nothing for what can be anything."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    is_enumeration = inspect.isclass(annotation) and issubclass(annotation, enum.Enum)
    return [str(member.value) for member in annotation] if is_enumeration else []


def _parts(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _parts(inner)


def filled(path: str, values: dict[str, str]) -> str:
    """A path template with its parameters filled in; those without a value become `x1`."""
    standard = {"queue": "search:index"} | values
    return re.sub(r"\{([^}:]+)(?::[^}]+)?\}", lambda name: standard.get(name[1], "x1"), path)


@dataclasses.dataclass(frozen=True)
class PageAction:
    """Something that a page lets its visitors do: a method that is called by name, from a browser."""

    page: type[Page]
    name: str
    needs: Operation

    def __str__(self) -> str:
        return f"{self.page.__name__}.{self.name}"


def page_actions() -> list[PageAction]:
    """Every action of every page."""
    return [
        PageAction(page, name, operation)
        for page in PAGES
        for name, method in inspect.getmembers(page, callable)
        if (operation := needed_by(method)) is not None
    ]


def classes_with_operations() -> frozenset[str]:
    """The names of the library's classes of which a method needs an operation, or is told who acts; read from source.

    Imported are only those that an app uses; a class that nobody uses yet must be found, too.
    """
    return frozenset(
        kind.name
        for path in Path(teknav_ops.__file__).parent.rglob("*.py")
        for kind in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(kind, ast.ClassDef) and any(map(_is_operation, kind.body))
    )


def _is_operation(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    is_told_who = any(part.annotation and ast.unparse(part.annotation) == "Operator" for part in arguments)
    is_declared = any(
        ast.unparse(decorator).startswith(("needs(", "policy.needs(")) for decorator in node.decorator_list
    )
    return is_declared or (is_told_who and not node.name.startswith("_"))


def public_methods(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    """What can be called on an object of this class."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {name: method for name, method in methods if not name.startswith("_")}
