"""The list of commands. A command's module is imported when it is asked for: none waits for what others need."""

from __future__ import annotations

import importlib
from collections import UserDict
from typing import Any, Final

import typer
from typer.core import TyperGroup

#: Where each command is, in the order of the help: a module of this package, and a function or an app in it.
PLACES: Final = {
    "up": "up:up",
    "doctor": "doctor:doctor",
    "stats": "stats:stats",
    "events": "events:events",
    "queues": "queues:app",
    "jobs": "jobs:app",
    "enqueue": "enqueue:enqueue",
    "dlq": "dlq:app",
    "audit": "audit:app",
    "alerts": "alerts:app",
    "serve": "serve:serve",
    "lab": "lab:lab",
    "report": "report:app",
    "workflows": "workflows:app",
    "plugins": "plugins:app",
    "webhooks": "webhooks:app",
    "search": "search:search",
    "reindex": "reindex:reindex",
    "demo": "demo:demo",
    "users": "users:app",
    "tokens": "tokens:app",
    "secret-key": "secret_key:secret_key",
    "keys": "keys:app",
    "db": "db:app",
}


class LazyCommands(UserDict[str, Any]):
    """The commands by name; each is made when it is first read."""

    def __getitem__(self, name: str) -> Any:
        """The command; a KeyError where there is none."""
        found = super().__getitem__(name)
        if isinstance(found, str):
            found = self.data[name] = _command(name, found)
        return found


class CommandGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands(PLACES)


def _command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"teknav_ops.cli.{module}"), attribute)
    # A group in any case, whose only command is the one: Typer makes a lone command the app itself.
    host = typer.Typer(rich_markup_mode=None, callback=lambda: None)
    if isinstance(found, typer.Typer):
        host.add_typer(found, name=name)
    else:
        host.command(name)(found)
    return getattr(typer.main.get_command(host), "commands")[name]  # noqa: B009
