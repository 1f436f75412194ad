"""`teknav db`: the SQL database's schema."""

from __future__ import annotations

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.storage.schema import current_revision, head_revision, upgrade

app = typer.Typer(help="The SQL database.", no_args_is_help=True)


@app.callback()
def db() -> None:
    """The SQL database."""


@app.command("upgrade")
def upgrade_database() -> None:
    """Bring the schema up to date."""
    url = Context().settings.sql_url
    before = current_revision(url)
    upgrade(url)
    show.console.print(f"schema {before or 'empty'} -> {head_revision()}")
