"""The two addresses of single sign-on: where it begins, and where the provider sends people back to."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from teknav_ops.api.oidc import Provider, ProviderUnavailable, SignOnFailed
from teknav_ops.api.sign_in import agent_of, let_in, local_path
from teknav_ops.api.sign_in_pages import confirmed_page, sign_in_page
from teknav_ops.errors import NotAllowed

router = APIRouter(include_in_schema=False)

_COOKIE = "teknav_sign_on"
_SECONDS = 600


@router.get("/oidc/begin")
def begin(request: Request, next: str = "", again: bool = False) -> Response:
    """Send the browser to the provider; `again` has it ask for the password of somebody whom it knows."""
    try:
        begun = _provider(request).begin(_redirect_uri(request), next[:2_000], again=again)
    except ProviderUnavailable as error:
        return sign_in_page(next=next, error=str(error), status=502, has_sign_on=True)
    answer = RedirectResponse(begun.url, 303)
    answer.set_cookie(
        _COOKIE, begun.browser_secret, max_age=_SECONDS, path="/oidc/", secure=request.state.origin.is_secure,
        httponly=True, samesite="lax",
    )  # fmt: skip
    return answer


@router.get("/oidc/callback")
def finish(request: Request) -> Response:
    """Take somebody back from the provider."""
    entrance, address = request.app.state.services.entrance, request.state.origin.address
    try:
        back = _provider(request).finish(
            dict(request.query_params), _redirect_uri(request), request.cookies.get(_COOKIE, "")
        )
        if back.is_again and request.state.identity is not None:
            entrance.own.confirm_sign_on(request.state.identity, back.person.name)
            return _without_cookie(RedirectResponse(local_path(back.next), 303) if back.next else confirmed_page())
        person = back.person
        opened = entrance.sign_on(
            person.name,
            person.role,
            address=address,
            agent=agent_of(request),
            queues=person.queues,
            is_proved=back.is_asked,
        )
    except SignOnFailed as error:
        entrance.refusals.record("user.sign_in_refused", actor=None, address=address, why=str(error), how="provider")
        return sign_in_page(error=str(error), status=401, has_sign_on=True)
    except NotAllowed as error:
        return sign_in_page(error=str(error), status=401, has_sign_on=True)
    except ProviderUnavailable as error:
        return sign_in_page(error=str(error), status=502, has_sign_on=True)
    return _without_cookie(let_in(request, opened, back.next))


def _without_cookie(answer: Response) -> Response:
    answer.delete_cookie(_COOKIE, path="/oidc/")
    return answer


def _provider(request: Request) -> Provider:
    provider: Provider = request.app.state.sign_on
    return provider


def _redirect_uri(request: Request) -> str:
    origin, settings = request.state.origin, request.app.state.services.settings
    return f"{settings.web_public_url or f'{origin.scheme}://{origin.host}'}/oidc/callback"
