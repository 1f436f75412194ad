"""The HTML of the sign-in pages. Every value is escaped; names are shown in their own direction."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

_FOLDER: Final = Path(__file__).parent / "pages"
_FRAME: Final = Template((_FOLDER / "frame.html").read_text("utf-8"))
_SIGN_IN: Final = Template((_FOLDER / "sign_in.html").read_text("utf-8"))
_FIRST_OWNER: Final = Template((_FOLDER / "first_owner.html").read_text("utf-8"))
_LINK: Final = Template((_FOLDER / "link.html").read_text("utf-8"))
_SIGN_ON: Final = Template((_FOLDER / "sign_on.html").read_text("utf-8"))


def sign_in_page(
    *, next: str = "", name: str = "", error: str = "", status: int = 200, has_sign_on: bool = False
) -> Response:
    """Name and password, and single sign-on where a provider is set."""
    sign_on = _fill(_SIGN_ON, next=quote(next, safe="")) if has_sign_on else ""
    form = _fill(_SIGN_IN, next=next, name=name, name_focus="" if name else " autofocus",
                 password_focus=" autofocus" if name else "")  # fmt: skip
    return _page("Sign in", form + sign_on, error, status)


def first_owner_page(secret: str, *, name: str = "owner", error: str = "") -> Response:
    """Name and password of the first owner."""
    return _page("Welcome", _fill(_FIRST_OWNER, secret=secret, name=name), error, 422 if error else 200)


def link_page(secret: str) -> Response:
    """One button."""
    return _page("Sign in", _fill(_LINK, secret=secret), "", 200)


def _page(title: str, content: str, error: str, status: int) -> Response:
    shown = f'<p class="error" role="alert" dir="auto">{escape(error)}</p>' if error else ""
    return HTMLResponse(_FRAME.substitute(title=escape(title), error=shown, content=content, refresh=""), status)


def _fill(template: Template, **values: str) -> str:
    return template.substitute({name: escape(value) for name, value in values.items()})
