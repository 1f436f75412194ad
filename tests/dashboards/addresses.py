"""Pages without a browser: which page an address names, opened by whom, with what it loads."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from dashboards.page import ROOT, Page
from dashboards.pages import PAGES
from dashboards.reads import SharedReads
from dashboards.sources import Sources
from dashboards.visit import Visit
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operator, Role
from tests.support.system import System


def kind_at(address: str) -> tuple[type[Page], dict[str, str]]:
    """The page that an address names, and the parameters of its path."""
    path = urlsplit(address).path
    for kind in PAGES:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", f"{ROOT}/{kind.path}")
        found = re.fullmatch(pattern, path)
        if found:
            return kind, {name: unquote(value) for name, value in found.groupdict().items()}
    raise AssertionError(f"no page is at {address}")


def page_at(system: System, address: str, role: Role = Role.OWNER) -> Page:
    """The page at an address, as it would be made for somebody of this role who opens it."""
    kind, route = kind_at(address)
    identity = Identity(Operator("somebody", role), "session")
    query = dict(parse_qsl(urlsplit(address).query))
    return kind(Visit(Sources(system.services), identity, SharedReads(), route, query))
