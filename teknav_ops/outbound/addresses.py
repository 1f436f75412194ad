"""Which addresses may be called from here: rules shared by whoever saves a URL and whoever calls it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from teknav_ops.errors import InvalidRequest, PermanentError
from teknav_ops.web_addresses import ascii_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Whoever set the address in our own settings owns this system: it may be in the house.
ANYWHERE: Final[tuple[Network, ...]] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
#: NAT64 and the deprecated compatible form carry an IPv4 address inside; Python calls some of them global.
_CARRIERS: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))

#: The special-purpose registries of IANA (RFC 6890), whole: no partner's receiver lives in any of them, and Python's
#: `is_global` knows some of them in some versions only.
_SPECIAL: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32",
        "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip

#: What the client says itself: a caller's `Host` could reach a neighbour of the host that was checked.
OWN_HEADERS: Final = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer",
    "proxy-authorization", "proxy-connection",
})  # fmt: skip


class AddressBlocked(PermanentError):
    """The URL leads to an address that must not be reached from here (private, loopback, metadata …)."""


class RequestMalformed(PermanentError):
    """The request is not one that HTTP can carry, such as a header with a line break."""


class InvalidUrl(RequestMalformed, InvalidRequest):
    """The URL is not one that can be called."""


def is_blocked(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether the address must not be reached: anything that is not plainly on the public internet."""
    if any(address.version == network.version and address in network for network in allowed):
        return False
    inner = _inner_ipv4(address)
    if inner is not None:
        return is_blocked(inner, allowed)
    if any(address.version == network.version and address in network for network in _SPECIAL):
        return True
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return not address.is_global or is_site_local or address.is_multicast or address.is_reserved


def _inner_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _CARRIERS) and int(address) & 0xFFFFFFFF > 0xFFFF:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def check_url(url: str) -> str:
    """The URL as it is sent (`ascii_url`). Raises InvalidUrl for one that cannot be called."""
    try:
        return ascii_url(url)
    except ValueError as error:
        raise InvalidUrl(f"url: {error}") from None
