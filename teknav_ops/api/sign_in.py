"""Signing in and out: plain pages without scripts."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from teknav_ops.access.attempts import TooManyAttempts
from teknav_ops.access.entrance import Entrance, SignInRefused
from teknav_ops.access.links import FIRST_OWNER, LinkUsedUp
from teknav_ops.access.second_step import ChallengeOver, CodeNeeded, CodeRefused
from teknav_ops.access.sessions import NewSession
from teknav_ops.api.origin import Origin
from teknav_ops.api.sign_in_pages import (
    code_page,
    first_owner_page,
    link_page,
    recovery_codes_page,
    set_up_page,
    sign_in_page,
)
from teknav_ops.api.visit import cookie_name
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

router = APIRouter(include_in_schema=False)

_HOME: Final = "/dashboard/owner/queues"
_NOT_YET_IN: Final = (
    "The second factor is on. You are not signed in yet: Redis or the database does not answer. Keep the codes first."
)
_STYLE: Final = (Path(__file__).parent / "pages" / "sign_in.css").read_text("utf-8")

NameField = Annotated[str, Form(max_length=400)]
PasswordField = Annotated[str, Form(max_length=4_000)]
CodeField = Annotated[str, Form(max_length=100)]
NextField = Annotated[str, Form(max_length=4_000)]


@router.get("/sign-in")
def show_sign_in(request: Request, next: str = "") -> Response:
    """The form; whoever is in already goes on."""
    if request.state.identity is not None:
        return RedirectResponse(local_path(next), 303)
    return sign_in_page(next=next, has_sign_on=_has_sign_on(request))


@router.post("/sign-in")
def sign_in(request: Request, name: NameField = "", password: PasswordField = "", next: NextField = "") -> Response:
    """Check name and password."""

    def again(error: str, status: int) -> Response:
        return sign_in_page(next=next, name=name, error=error, status=status, has_sign_on=_has_sign_on(request))

    if not name.strip() or not password:
        return again("Enter your name and your password.", 422)
    try:
        opened = _entrance(request).sign_in(name, password, address=_origin(request).address, agent=agent_of(request))
    except TooManyAttempts as error:
        return waiting(again(str(error), 429), error)
    except CodeNeeded as needed:
        return _second_step(request, needed, next)
    except SignInRefused as error:
        return again(str(error), 401)
    return let_in(request, opened, next)


@router.post("/sign-in/code")
def sign_in_by_code(
    request: Request, challenge: NextField = "", code: CodeField = "", next: NextField = ""
) -> Response:
    """The second step: a code of the app, or a recovery code."""
    address, agent = _origin(request).address, agent_of(request)
    try:
        opened = _entrance(request).sign_in_by_code(challenge, code, address=address, agent=agent)
    except TooManyAttempts as error:
        return waiting(code_page(challenge, next=next, error=str(error), status=429), error)
    except CodeRefused as error:
        return code_page(challenge, next=next, error=str(error), status=401)
    except (ChallengeOver, SignInRefused) as error:
        return sign_in_page(next=next, error=str(error), status=401, has_sign_on=_has_sign_on(request))
    return let_in(request, opened, next)


@router.post("/sign-in/set-up")
def sign_in_by_set_up(
    request: Request, challenge: NextField = "", code: CodeField = "", next: NextField = ""
) -> Response:
    """The second step of who must set up an authenticator app first."""
    entrance, address = _entrance(request), _origin(request).address

    def anew(error: Exception) -> Response:
        return sign_in_page(next=next, error=str(error), status=401, has_sign_on=_has_sign_on(request))

    def again(error: Exception, status: int) -> Response:
        try:
            set_up = entrance.second_step.begin_set_up(challenge, anew=False)
        except WrongState as over:
            return anew(over)
        return set_up_page(challenge, set_up.key, set_up.uri, next=next, error=str(error), status=status)

    try:
        opened, codes = entrance.sign_in_by_set_up(challenge, code, address=address, agent=agent_of(request))
    except TooManyAttempts as error:
        return waiting(again(error, 429), error)
    except (WrongState, SignInRefused) as error:
        return anew(error)
    except InvalidRequest as error:
        return again(error, 401)
    if opened is not None:
        with contextlib.suppress(*OUTAGE_ERRORS):
            return let_in(request, opened, next, answer=recovery_codes_page(codes, next=local_path(next)))
    return recovery_codes_page(codes, next=local_path(next), error=_NOT_YET_IN)


def _second_step(request: Request, needed: CodeNeeded, next: str) -> Response:
    if not needed.is_set_up:
        return code_page(needed.challenge, next=next)
    set_up = _entrance(request).second_step.begin_set_up(needed.challenge, anew=True)
    return set_up_page(needed.challenge, set_up.key, set_up.uri, next=next)


def waiting(answer: Response, error: TooManyAttempts) -> Response:
    """The answer, with for how long to wait."""
    answer.headers["retry-after"] = str(error.wait_seconds)
    return answer


@router.get("/sign-in/style.css")
async def style() -> Response:
    """The pages' style."""
    return Response(_STYLE, media_type="text/css", headers={"cache-control": "private, max-age=3600"})


@router.get("/sign-in/first/{secret}")
def show_first_owner(request: Request, secret: str) -> Response:
    """The form that makes the first owner. Looking at it does not use the link up: chat programs look at links."""
    if _entrance(request).links.look(secret) != FIRST_OWNER:
        return _used_up(request)
    return first_owner_page(secret)


@router.post("/sign-in/first/{secret}")
def become_first_owner(
    request: Request, secret: str, name: NameField = "", password: PasswordField = "", again: PasswordField = ""
) -> Response:
    """Make the first owner and sign in."""
    if _entrance(request).links.look(secret) != FIRST_OWNER:
        return _used_up(request)
    if password != again:
        return first_owner_page(secret, name=name, error="The two passwords are not the same.")
    try:
        opened = _entrance(request).become_first_owner(
            secret, name, password, address=_origin(request).address, agent=agent_of(request)
        )
    except CodeNeeded as needed:
        return _second_step(request, needed, "")
    except WrongState:
        # Used up, or somebody else was first by a moment.
        return _used_up(request)
    except InvalidRequest as error:
        return first_owner_page(secret, name=name, error=str(error))
    return let_in(request, opened, "")


@router.get("/sign-in/link/{secret}")
def show_link(request: Request, secret: str) -> Response:
    """A button: a link that signed in by being fetched would be used up by previews."""
    purpose = _entrance(request).links.look(secret)
    if purpose is None or purpose == FIRST_OWNER:
        return _used_up(request)
    return link_page(secret)


@router.post("/sign-in/link/{secret}")
def sign_in_by_link(request: Request, secret: str) -> Response:
    """Use the link."""
    try:
        opened = _entrance(request).sign_in_by_link(secret, address=_origin(request).address, agent=agent_of(request))
    except CodeNeeded as needed:
        return _second_step(request, needed, "")
    except (LinkUsedUp, SignInRefused):
        return _used_up(request)
    return let_in(request, opened, "")


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End this session here and everywhere it was copied to, and cut its open connections."""
    from anyio.to_thread import run_sync

    if request.state.identity is not None:
        await run_sync(_entrance(request).sign_out, request.state.identity)
        await request.app.state.live.check()
    answer = RedirectResponse("/sign-in", 303)
    origin = _origin(request)
    answer.delete_cookie(cookie_name(origin), secure=origin.is_secure, httponly=True, samesite="lax")
    # The pages are gone from this browser's caches too.
    answer.headers["clear-site-data"] = '"cache"'
    return answer


def let_in(request: Request, opened: NewSession, next: str, *, answer: Response | None = None) -> Response:
    """Hand out the new session's cookie. The browser's former session ends: nobody can have planted this one."""
    entrance, former, origin = _entrance(request), request.state.identity, _origin(request)
    if former is not None and former.session_id is not None:
        entrance.sessions.end(former.session_id)
    answer = answer or RedirectResponse(local_path(next), 303)
    answer.set_cookie(
        cookie_name(origin), opened.cookie, max_age=opened.lasts_seconds, path="/", secure=origin.is_secure,
        httponly=True, samesite="lax",
    )  # fmt: skip
    return answer


def agent_of(request: Request) -> str:
    """What the browser says of itself."""
    return request.headers.get("user-agent", "")


def local_path(next: str) -> str:
    """Where to go after signing in: only to a path of this site, whatever the address said."""
    is_local = next.startswith("/") and not next.startswith(("//", "/\\", "/sign-in", "/sign-out"))
    if not is_local or "\\" in next or any(ord(letter) < 33 or ord(letter) == 127 for letter in next):
        return _HOME
    return next


def _used_up(request: Request) -> Response:
    return sign_in_page(error=str(LinkUsedUp()), status=410, has_sign_on=_has_sign_on(request))


def _entrance(request: Request) -> Entrance:
    entrance: Entrance = request.app.state.services.entrance
    return entrance


def _origin(request: Request) -> Origin:
    origin: Origin = request.state.origin
    return origin


def _has_sign_on(request: Request) -> bool:
    return request.app.state.services.settings.oidc_issuer is not None
