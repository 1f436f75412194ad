"""`teknav users`: who may sign in to the dashboard."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from teknav_ops.access.devices import device_of
from teknav_ops.access.policy import Role, local_operator
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import CursorOption, JsonOption, LimitOption
from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import is_every_queue

app = typer.Typer(help="Who may sign in to the dashboard.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the user.")]
StdinOption = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, for scripts.")]
RoleOption = Annotated[
    Role, typer.Option(help="OWNER may do all; OPERATOR keeps queues running; VIEWER reads. The last two see masks.")
]
QueueOption = Annotated[
    list[str] | None,
    typer.Option("--queue", help="Only these queues, for an OPERATOR: otp:send, 'webhooks:*'; repeat for more."),
]


@app.command("list")
def list_users(limit: LimitOption = 100, cursor: CursorOption = None, json_output: JsonOption = False) -> None:
    """A page of the users, by name."""
    page = Context().entrance.users.page(cursor=cursor, limit=limit)
    if json_output:
        show.as_json(page)
        return
    show.table(
        ("name", "role", "queues", "state", "signed in", "password changed", "added by"),
        [
            (
                u.name,
                u.role,
                ", ".join(u.queues),
                "disabled" if u.disabled_at else "enabled",
                u.signed_in_at,
                u.password_changed_at,
                u.created_by,
            )
            for u in page.items
        ],
        empty="No users. `teknav serve` prints a link for the first owner, or: teknav users add NAME --role OWNER",
    )
    show.more(page)


@app.command()
def add(name: NameArgument, role: RoleOption, queue: QueueOption = None, stdin: StdinOption = False) -> None:
    """Add a user. Asks for the password on the terminal."""
    context = Context()
    by, users = local_operator(context.settings), context.entrance.users
    user = users.add(by, name, role, _password(stdin), queues=queue or None)
    show.console.print(f"{user.name} is added as {user.role}{_limited(user.queues)}", markup=False)
    if role is Role.VIEWER and not context.settings.viewers_allowed:
        show.console.print("VIEWERs are not let in at present: set TEKNAV_VIEWERS_ALLOWED=true")


@app.command()
def password(name: NameArgument, stdin: StdinOption = False) -> None:
    """Change a user's password; signs the user out everywhere."""
    context = Context()
    if context.entrance.users.find(name) is None:
        # Before anybody types a password for nobody.
        raise UnknownUser(name)
    ended = context.entrance.users.set_password(local_operator(context.settings), name, _password(stdin))
    show.console.print(f"The password is changed; {_ended(ended)}")


@app.command()
def role(
    name: NameArgument, new_role: Annotated[Role, typer.Argument(metavar="ROLE")], queue: QueueOption = None
) -> None:
    """Change a user's role, and the queues that it is for; signs the user out everywhere."""
    context = Context()
    users = context.entrance.users
    ended = users.set_role(local_operator(context.settings), name, new_role, queues=queue or None)
    found = users.find(name)
    limits = _limited(found[0].queues) if found else ""
    show.console.print(f"{name} is {new_role}{limits}; {_ended(ended)}", markup=False)


@app.command()
def disable(name: NameArgument) -> None:
    """Let a user in no more; signs the user out everywhere."""
    context = Context()
    ended = context.entrance.users.disable(local_operator(context.settings), name)
    show.console.print(f"{name} is disabled; {_ended(ended)}", markup=False)


@app.command()
def enable(name: NameArgument) -> None:
    """Let a user in again."""
    context = Context()
    context.entrance.users.enable(local_operator(context.settings), name)
    show.console.print(f"{name} is enabled", markup=False)


@app.command()
def remove(name: NameArgument) -> None:
    """Remove a user; what they did stays in the audit trail under their name."""
    context = Context()
    ended = context.entrance.users.remove(local_operator(context.settings), name)
    show.console.print(f"{name} is removed; {_ended(ended)}", markup=False)


@app.command()
def sessions(name: NameArgument, json_output: JsonOption = False) -> None:
    """Where a user is signed in, also one who came through single sign-on."""
    context = Context()
    found = context.entrance.signed_in.of(local_operator(context.settings), name)
    rows = [
        {
            "session": session.handle,
            "device": device_of(session.way.agent),
            "how": session.way.how,
            "address": session.way.address,
            "since": session.opened_at,
            "last_use": session.used_at,
            "ends": session.ends_at,
        }
        for session in found
    ]
    if json_output:
        show.as_json(rows)
        return
    head = ("session", "device", "came by", "from", "since", "last use", "ends at the latest")
    show.table(head, [tuple(row.values()) for row in rows], empty=f"{name} is signed in nowhere.")


@app.command("sign-out")
def sign_out(
    name: NameArgument,
    session: Annotated[
        str | None, typer.Option(help="End this one only; `teknav users sessions NAME` lists them.")
    ] = None,
) -> None:
    """End all sessions of a user, also of one who came through single sign-on; or one of them."""
    context = Context()
    by, signed_in = local_operator(context.settings), context.entrance.signed_in
    if session is None:
        show.console.print(_ended(signed_in.end_all(by, name)))
        return
    signed_in.end(by, name, session)
    show.console.print(_ended(1))


@app.command("reset-second-factor")
def reset_second_factor(name: NameArgument) -> None:
    """Take a user's second factor away, for who has lost phone and recovery codes."""
    context = Context()
    context.entrance.factors.reset(local_operator(context.settings), name)
    show.console.print(f"{name} signs in without a second factor now, and can set up another", markup=False)


@app.command()
def link(name: NameArgument) -> None:
    """Print a link that signs a user in once, within 15 minutes: for whoever is locked out."""
    context = Context()
    secret = context.entrance.links.for_user(local_operator(context.settings), name)
    show.console.print(
        f"{context.settings.web_url}/sign-in/link/{secret}", markup=False, soft_wrap=True, highlight=False
    )


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidRequest("password: there is no terminal to ask on; give --stdin and write it there")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Once more"))


def _limited(queues: tuple[str, ...]) -> str:
    return "" if is_every_queue(queues) else f" of {', '.join(queues)}"


def _ended(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'} ended"
