"""`teknav tokens`: programs' keys to the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from teknav_ops.access.policy import Operation, Role, local_operator
from teknav_ops.access.token_rows import Token
from teknav_ops.access.tokens import SCOPES
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import CursorOption, JsonOption, LimitOption, parse_span
from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import is_every_queue

app = typer.Typer(help="API tokens for programs.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the token, such as deploy-bot.")]


@app.command("list")
def list_tokens(limit: LimitOption = 100, cursor: CursorOption = None, json_output: JsonOption = False) -> None:
    """A page of the tokens, newest first and revoked ones last, by their beginning; the rest is known to nobody."""
    page = Context().entrance.tokens.page(cursor=cursor, limit=limit)
    if json_output:
        items = [{**show.plain(each), "scopes": sorted(each.scopes), "state": each.state} for each in page.items]
        show.as_json({**show.plain(page), "items": items})
        return
    show.table(
        ("name", "token", "state", "expires", "last used", "may"),
        [
            (t.name, f"{t.beginning}…", t.state, t.expires_at or "never", t.last_used_at or "never", _rights(t))
            for t in page.items
        ],
        empty="No tokens. Create one: teknav tokens create NAME --scope read",
    )
    show.more(page)


@app.command()
def create(
    name: NameArgument,
    scope: Annotated[list[str], typer.Option(help=f"{', '.join(SCOPES)}; repeat for more.")],
    role: Annotated[
        Role | None,
        typer.Option(help="OWNER, OPERATOR or VIEWER: the last two see masked payloads. The least for its scopes."),
    ] = None,
    expires: Annotated[str, typer.Option(help="After so long: 90d, 12h; or never.")] = "90d",
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Only these queues: otp:send, 'webhooks:*'; repeat for more.")
    ] = None,
    jobs_per_minute: Annotated[int | None, typer.Option(help="It creates so many jobs a minute at most.")] = None,
    backlog: Annotated[
        int | None, typer.Option(help="It adds to a queue only while fewer jobs wait or are delayed there.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="The OWNER in whose place it acts, and with whom it ends.")] = None,
) -> None:
    """Create a token and print it, this once."""
    context = Context()
    secret, token = context.entrance.tokens.create(
        local_operator(context.settings), name, role=role, scopes=[_scope(text) for text in scope],
        life=_life(expires), queues=queue or None, jobs_per_minute=jobs_per_minute, backlog_limit=backlog, owner=owner,
    )  # fmt: skip
    until = "never expires" if token.expires_at is None else f"expires {token.expires_at:%Y-%m-%d %H:%M} UTC"
    show.console.print(f"{token.name} ({token.role}) {until}. The token, shown this once:", markup=False)
    show.console.print(secret, markup=False, soft_wrap=True, highlight=False)


@app.command()
def revoke(name: NameArgument) -> None:
    """Accept a token no more, from now on."""
    context = Context()
    context.entrance.tokens.revoke(local_operator(context.settings), name)
    show.console.print(f"{name} is revoked", markup=False)


def _rights(token: Token) -> str:
    scopes = ", ".join(sorted(set(SCOPES) & token.scopes))
    parts = [f"{token.role}: {scopes}" + ("" if is_every_queue(token.queues) else f" on {', '.join(token.queues)}")]
    if token.jobs_per_minute is not None:
        parts.append(f"{token.jobs_per_minute:,} jobs a minute")
    if token.backlog_limit is not None:
        parts.append(f"up to a backlog of {token.backlog_limit:,}")
    parts.append(f"owner {token.owner}" if token.owner else f"made by {token.created_by}")
    return "; ".join(parts)


def _scope(text: str) -> Operation:
    try:
        return Operation(text)
    except ValueError:
        raise InvalidRequest(f"scope: {text!r} is not one of {', '.join(SCOPES)}") from None


def _life(text: str) -> timedelta | None:
    return None if text == "never" else parse_span(text, name="--expires")
