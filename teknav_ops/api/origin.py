"""Where a request comes from and which address of ours it used, as far as that can be believed."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from teknav_ops.settings import Settings

_SCHEMES: Final = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]+\]|[^\[\]:/@?#\\\s]+)(?::\d{1,5})?")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """The client's address, and the address the browser shows: scheme, host with its port, and the path before ours."""

    address: str
    scheme: str
    host: str
    prefix: str = ""

    @property
    def is_secure(self) -> bool:
        """Whether the browser came over TLS."""
        return self.scheme == "https"

    def is_same(self, origin: str) -> bool:
        """Whether an Origin header names this site."""
        scheme, _, host = origin.lower().partition("://")
        return scheme == self.scheme and _is_host(host) and _with_port(host, scheme) == _with_port(self.host, scheme)


class Origins:
    """Reads origins by the settings: which hosts we answer to, and which proxies are believed."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = settings.trusted_proxies
        self._prefix = settings.path_prefix
        public_host = _without_port(urlsplit(settings.web_public_url or "").netloc)
        own_host = settings.web_address.rpartition(":")[0]
        named = [own_host, public_host, *settings.allowed_hosts]
        self._hosts = {name.lower() for name in (*_LOOPBACK, *named) if name and name not in ("0.0.0.0", "[::]")}

    def read(self, scope: Scope, headers: Mapping[str, str]) -> Origin:
        """The origin of a request. Headers of a proxy count only when it is a trusted one that sent them."""
        address = (scope.get("client") or ("", 0))[0]
        scheme = _SCHEMES.get(scope["scheme"], "http")
        if self._is_proxy(address):
            forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
            # From the right: what stands further left was written by whoever called the proxy.
            while forwarded and self._is_proxy(address):
                address = forwarded.pop()
            # A chain of proxies lists what each saw; the first is what the browser used.
            told = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
            scheme = told if told in ("http", "https") else scheme
        return Origin(address, scheme, headers.get("host", "").lower(), self._prefix)

    def knows(self, origin: Origin) -> bool:
        """Whether the Host header is a name of ours. Else a stranger's name may have been pointed at us."""
        return _is_host(origin.host) and _without_port(origin.host) in self._hosts

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)


def _is_host(host: str) -> bool:
    """Whether it is a name or an address, with a port or without, and nothing else."""
    return _HOST.fullmatch(host) is not None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _with_port(host: str, scheme: str) -> str:
    bare = _without_port(host)
    port = host[len(bare) :] or (":443" if scheme == "https" else ":80")
    return (bare + port).lower()
