"""URLs and header values as HTTP carries them, which is ASCII only. One rule for who saves one and for who sends it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from teknav_ops.one_line import is_one_line

#: What RFC 3986 lets stand in a path; `%` because what is encoded already stays so.
_IN_PATH: Final = "/%:@!$&'()*+,;=~-._"
_IN_QUERY: Final = _IN_PATH + "?"
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HOST_LIMIT_CHARACTERS: Final = 253
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?")


def ascii_url(url: str) -> str:
    """The URL as it is sent: its host in IDNA, what else is not ASCII percent-encoded, no fragment.

    Raises:
        ValueError: it is not absolute http(s), carries a login, or can be written in no such way.
    """
    if not is_one_line(url) or " " in url:
        raise ValueError("must not contain spaces or control characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with https:// (or http://) and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a login; send a header instead")
    host = ascii_host(parts.hostname)
    netloc = f"[{host}]" if ":" in host else host
    if parts.port == 0:
        raise ValueError("the port must be 1 to 65535")
    netloc += f":{parts.port}" if parts.port is not None else ""
    path, query = _STRAY_PERCENT.sub("%25", parts.path), _STRAY_PERCENT.sub("%25", parts.query)
    return urlunsplit((parts.scheme, netloc, quote(path, _IN_PATH), quote(query, _IN_QUERY), ""))


def host_header(url: str) -> str:
    """What a request to such a URL has as its `Host`: an IPv6 address in brackets, and the port where it is not the
    usual one.
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return host if parts.port in (None, _USUAL_PORTS[parts.scheme]) else f"{host}:{parts.port}"


def ascii_host(host: str) -> str:
    """A host as DNS knows it: an address, or a name in IDNA (2008). Raises ValueError."""
    if "%" in host:
        raise ValueError("the host must not hold a %: neither an encoded letter nor the zone of an address")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = host if host.isascii() else _idna(host)
    except UnicodeError as error:
        raise ValueError(f"the host cannot be written in ASCII (IDNA): {error}") from None
    labels = found.removesuffix(".").split(".")
    if len(found) > _HOST_LIMIT_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is no name that DNS knows: letters, digits and dashes, 63 between two dots at most")
    return found


def _idna(host: str) -> str:
    import idna

    return str(idna.encode(host, uts46=True), "ascii")


def header_problem(value: str, name: str = "x") -> str | None:
    """Why HTTP cannot carry a header, or None."""
    if not _HEADER_NAME.fullmatch(name):
        return "a header's name must be ASCII letters, digits and dashes"
    if _HEADER_VALUE.fullmatch(value) or not value:
        return None
    return "must be one line of ASCII without spaces around it; encode the rest, such as by base64"
