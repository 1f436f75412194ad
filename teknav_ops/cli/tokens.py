"""`teknav tokens`: programs' keys to the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from teknav_ops.access.policy import Operation, Role, local_operator
from teknav_ops.access.tokens import SCOPES
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption, parse_span
from teknav_ops.errors import InvalidRequest

app = typer.Typer(help="API tokens for programs.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the token, such as deploy-bot.")]


@app.command("list")
def list_tokens(json_output: JsonOption = False) -> None:
    """All tokens, by their beginning; the rest is known to nobody."""
    tokens = Context().entrance.tokens.all()
    if json_output:
        show.as_json([{**show.plain(token), "scopes": sorted(token.scopes)} for token in tokens])
        return
    show.table(
        ("name", "token", "role", "scopes", "expires", "last used", "revoked", "made by"),
        [
            (
                t.name, f"{t.beginning}…", t.role, ", ".join(sorted(set(SCOPES) & t.scopes)), t.expires_at or "never",
                t.last_used_at, t.revoked_at, t.created_by,
            )
            for t in tokens
        ],
        empty="No tokens. Create one: teknav tokens create NAME --scope read",
    )  # fmt: skip


@app.command()
def create(
    name: NameArgument,
    scope: Annotated[list[str], typer.Option(help=f"{', '.join(SCOPES)}; repeat for more.")],
    role: Annotated[Role, typer.Option(help="OWNER or VIEWER; a VIEWER's token only reads, masked.")] = Role.OWNER,
    expires: Annotated[str, typer.Option(help="After so long: 90d, 12h; or never.")] = "90d",
) -> None:
    """Create a token and print it, this once."""
    context = Context()
    secret, token = context.entrance.tokens.create(
        local_operator(context.settings), name, role=role, scopes=[_scope(text) for text in scope], life=_life(expires)
    )
    until = "never expires" if token.expires_at is None else f"expires {token.expires_at:%Y-%m-%d %H:%M} UTC"
    show.console.print(f"{token.name} {until}. The token, shown this once:", markup=False)
    show.console.print(secret, markup=False, soft_wrap=True, highlight=False)


@app.command()
def revoke(name: NameArgument) -> None:
    """Accept a token no more, from now on."""
    context = Context()
    context.entrance.tokens.revoke(local_operator(context.settings), name)
    show.console.print(f"{name} is revoked", markup=False)


def _scope(text: str) -> Operation:
    try:
        return Operation(text)
    except ValueError:
        raise InvalidRequest(f"scope: {text!r} is not one of {', '.join(SCOPES)}") from None


def _life(text: str) -> timedelta | None:
    return None if text == "never" else parse_span(text, name="--expires")
