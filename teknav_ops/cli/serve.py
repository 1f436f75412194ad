"""`teknav serve`: the dashboard and the API."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.errors import WrongState
from teknav_ops.settings import Settings, use_web_address
from teknav_ops.storage.schema import current_revision, head_revision


def serve(
    host: Annotated[str | None, typer.Option(help="Where to listen; of TEKNAV_WEB_ADDRESS unless given.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; likewise.")] = None,
) -> None:
    """Serve the dashboard and the API until Ctrl-C."""
    from teknav_ops.runtime.web import first_owner_url, serve_web

    context = Context()
    usual_host, _, usual_port = context.settings.web_address.rpartition(":")
    if host is not None or port is not None:
        named = host or usual_host
        bracketed = f"[{named}]" if ":" in named and not named.startswith("[") else named
        context = Context(use_web_address(f"{bracketed}:{usual_port if port is None else port}"))

    _check_schema(context.settings)

    def say(url: str) -> None:
        show.console.print(f"Dashboard   {url}", markup=False, soft_wrap=True)
        link = first_owner_url(context.entrance.links, url)
        if link is not None:
            show.console.print(f"First owner {link}", markup=False, soft_wrap=True)

    serve_web(context.settings, on_ready=say)


def _check_schema(settings: Settings) -> None:
    """An app on another schema would fail page by page."""
    found, wanted = current_revision(settings.sql_url), head_revision()
    if found != wanted:
        raise WrongState(f"the database's schema is {found or 'not there yet'}; run `teknav db upgrade` first")
