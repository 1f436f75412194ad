"""The HTML of the sign-in pages. Every value is escaped; names are shown in their own direction."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from teknav_ops.path_prefix import at, current_prefix

_FOLDER: Final = Path(__file__).parent / "pages"
_FRAME: Final = Template((_FOLDER / "frame.html").read_text("utf-8"))
_SIGN_IN: Final = Template((_FOLDER / "sign_in.html").read_text("utf-8"))
_FIRST_OWNER: Final = Template((_FOLDER / "first_owner.html").read_text("utf-8"))
_LINK: Final = Template((_FOLDER / "link.html").read_text("utf-8"))
_CODE: Final = Template((_FOLDER / "code.html").read_text("utf-8"))
_SET_UP: Final = Template((_FOLDER / "set_up.html").read_text("utf-8"))
_RECOVERY_CODES: Final = Template((_FOLDER / "recovery_codes.html").read_text("utf-8"))
_CONFIRM: Final = Template((_FOLDER / "confirm.html").read_text("utf-8"))
_CONFIRM_SIGN_ON: Final = Template((_FOLDER / "confirm_sign_on.html").read_text("utf-8"))
_SIGN_ON: Final = Template((_FOLDER / "sign_on.html").read_text("utf-8"))


def sign_in_page(
    *, next: str = "", name: str = "", error: str = "", status: int = 200, has_sign_on: bool = False
) -> Response:
    """Name and password, and single sign-on where a provider is set."""
    sign_on = _fill(_SIGN_ON, next=quote(next, safe="")) if has_sign_on else ""
    form = _fill(
        _SIGN_IN,
        next=next,
        name=name,
        name_focus="" if name else " autofocus",
        password_focus=" autofocus" if name else "",
    )
    return _page("Sign in", form + sign_on, error, status)


def first_owner_page(secret: str, *, name: str = "owner", error: str = "") -> Response:
    """Name and password of the first owner."""
    return _page("Welcome", _fill(_FIRST_OWNER, secret=secret, name=name), error, 422 if error else 200)


def link_page(secret: str) -> Response:
    """One button."""
    return _page("Sign in", _fill(_LINK, secret=secret), "", 200)


def code_page(challenge: str, *, next: str = "", error: str = "", status: int = 200) -> Response:
    """The code of the second step."""
    return _page("One more step", _fill(_CODE, challenge=challenge, next=next), error, status)


def set_up_page(challenge: str, key: str, uri: str, *, next: str = "", error: str = "", status: int = 200) -> Response:
    """The key for an authenticator app, and a field for its first code."""
    parts = " ".join(key[at : at + 4] for at in range(0, len(key), 4))
    content = _fill(_SET_UP, challenge=challenge, key=parts, uri=uri, next=next)
    return _page("Set up a second factor", content, error, status)


def recovery_codes_page(codes: list[str], *, next: str, error: str = "") -> Response:
    """The recovery codes, this once."""
    return _page("Recovery codes", _fill(_RECOVERY_CODES, codes="\n".join(codes), next=at(next)), error, 200)


def confirm_page(
    name: str, *, next: str = "", error: str = "", status: int = 200, has_password: bool = True
) -> Response:
    """The password of somebody who is signed in, or the way to their provider."""
    form = _CONFIRM if has_password else _CONFIRM_SIGN_ON
    return _page(
        "Confirm that it is you", _fill(form, name=name, next=next, quoted_next=quote(next, safe="")), error, status
    )


def confirmed_page() -> Response:
    """Nothing more to do here."""
    return _page("Confirmed", "<p>Go on where you were; this page can be closed.</p>", "", 200)


def _page(title: str, content: str, error: str, status: int) -> Response:
    shown = f'<p class="error" role="alert" dir="auto">{escape(error)}</p>' if error else ""
    page = _FRAME.substitute(site=current_prefix.get(), title=escape(title), error=shown, content=content, refresh="")
    return HTMLResponse(page, status)


def _fill(template: Template, **values: str) -> str:
    return template.substitute(
        {name: escape(value) for name, value in {"site": current_prefix.get(), **values}.items()}
    )
