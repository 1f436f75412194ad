"""Proving that a session is still its person's own: a plain page, where no page of the dashboard asks for it."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from teknav_ops.access.attempts import TooManyAttempts
from teknav_ops.access.freshness import CONFIRM_PATH
from teknav_ops.access.identity import Identity
from teknav_ops.api.sign_in import NextField, PasswordField, local_path, waiting
from teknav_ops.api.sign_in_pages import confirm_page, confirmed_page
from teknav_ops.errors import NotAllowed

router = APIRouter(include_in_schema=False)


@router.get(CONFIRM_PATH)
def show_confirm(request: Request, next: str = "") -> Response:
    """A form for the password of whoever is signed in; for programs that come with a cookie, and without scripts."""
    if request.state.identity is None:
        return RedirectResponse(f"/sign-in?next={quote(next, safe='')}", 303)
    return _confirm_page(request, next)


@router.post(CONFIRM_PATH)
def confirm(request: Request, password: PasswordField = "", next: NextField = "") -> Response:
    """Prove that the session is one's own."""
    if request.state.identity is None:
        return RedirectResponse(f"/sign-in?next={quote(next, safe='')}", 303)
    try:
        request.app.state.services.entrance.own.confirm(request.state.identity, password)
    except TooManyAttempts as error:
        return waiting(_confirm_page(request, next, error=str(error), status=429), error)
    except NotAllowed as error:
        return _confirm_page(request, next, error=str(error), status=403)
    return RedirectResponse(local_path(next), 303) if next else confirmed_page()


def _confirm_page(request: Request, next: str, *, error: str = "", status: int = 200) -> Response:
    identity: Identity = request.state.identity
    return confirm_page(
        identity.operator.name, next=next, error=error, status=status, has_password=identity.user_id is not None
    )
