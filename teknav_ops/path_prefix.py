"""The path below which the web process is reached, where it shares its host with others: `/teknav`, or nothing.

It is the path of `web_public_url`. Everything inside speaks of paths as if the host were its own: routes, `next=`, what
pages are told. `api.path_prefix` takes the prefix off what comes in and puts it before redirects and cookies;
`assets/js/site.js` puts it before the links of pages; plain pages and texts ask `at` here.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit

#: The prefix of the request that is answered now.
current_prefix: ContextVar[str] = ContextVar("path_prefix", default="")
#: The first segments of our own paths. No prefix may begin so: it could not be told from a path that has none.
OWN_SEGMENTS: Final = frozenset(
    (
        "api",
        "assets",
        "components",
        "dashboard",
        "favicon.ico",
        "healthz",
        "metrics",
        "oidc",
        "readyz",
        "reports",
        "sign-in",
        "sign-out",
        "static",
        "ws",
    )
)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_LIMIT_CHARACTERS: Final = 200


def prefix_of(url: str | None) -> str:
    """The path of a URL without its last slash."""
    return urlsplit(url or "").path.rstrip("/")


def require_prefix(path: str) -> None:
    """Raises ValueError for a path that cannot stand before ours in links, cookies and redirects."""
    segments = path.split("/")[1:] if path else []
    if not all(_SEGMENT.fullmatch(segment) for segment in segments) or len(path) > _LIMIT_CHARACTERS:
        raise ValueError("its path may hold letters, digits and . _ ~ - between slashes, such as /teknav")
    if segments and segments[0] in OWN_SEGMENTS:
        raise ValueError(f"its path must not begin with /{segments[0]}, which is a path of the dashboard's own")


def under(prefix: str, path: str) -> str:
    """A path of ours as browsers must ask for it; what stands below the prefix already stays."""
    if not prefix or path == prefix or path.startswith(f"{prefix}/"):
        return path
    return prefix + path


def at(path: str) -> str:
    """A path of ours as the browser that is answered now must ask for it."""
    return under(current_prefix.get(), path)
