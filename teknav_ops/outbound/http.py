"""HTTP to addresses that others chose: webhooks, plugins and workflow steps go through here.

A name is resolved once, every address it has is checked, and the connection goes to the address
that was checked, so an answer that changes between check and use changes nothing. Redirects are
not followed, proxies of the environment are ignored, and one deadline bounds the whole exchange
however slowly the other side drips.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore2 as httpcore
from httpcore2 import NetworkBackend, NetworkStream

from teknav_ops.errors import TransientError
from teknav_ops.outbound.addresses import (
    OWN_HEADERS,
    AddressBlocked,
    InvalidUrl,
    Network,
    RequestMalformed,
    check_url,
    is_blocked,
)
from teknav_ops.payloads.redaction import redact_beginning
from teknav_ops.settings import Settings
from teknav_ops.web_addresses import header_problem, host_header

Resolver = Callable[[str, int], Sequence[str]]

ANSWER_LIMIT_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 16 * 1024


class HostUnreachable(TransientError):
    """No connection, or it broke."""


class AnswerTimedOut(TransientError):
    """The other side did not answer completely in time."""


#: How much is read of an answer of which some words are kept.
WORDS_READ_BYTES: Final = 32_768


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `body` is cut at the caller's limit; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_truncated: bool
    duration_ms: float
    address: str

    def words(self, limit_characters: int) -> str:
        """The beginning of the body, as a text to keep: secrets that the other side quotes are masked.

        Ask with WORDS_READ_BYTES: a secret that is cut where the reading ended would keep its first part.
        """
        return redact_beginning(self.body.decode(errors="replace").replace("\0", ""), limit_characters)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver gives them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class OutboundHttp:
    """One request per connection; safe to share between threads."""

    def __init__(
        self, *, allowed_networks: Sequence[Network] = (), resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._allowed = tuple(allowed_networks)
        self._resolver = resolver
        self._tls = tls

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b"",
        timeout_seconds: float = 15.0, answer_limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> Answer:  # fmt: skip
        """Send one request and read the answer, within `timeout_seconds` in all.

        Raises:
            InvalidUrl, RequestMalformed, AddressBlocked: never to be tried again.
            HostUnreachable, AnswerTimedOut: perhaps later.
        """
        url = check_url(url)
        started = time.monotonic()
        backend = _CheckedBackend(self._allowed, self._resolver, started + timeout_seconds)
        sent = {"user-agent": "TekNav/1", **{name.lower(): value for name, value in (headers or {}).items()}}
        if own := sorted(OWN_HEADERS & sent.keys()):
            raise RequestMalformed(f"request: header {own[0]}: is set by the sender; remove it")
        # httpcore leaves out the brackets of an IPv6 address.
        sent["host"] = host_header(url)
        for name, value in sent.items():
            if problem := header_problem(value, name):
                raise RequestMalformed(f"request: header {name!a}: {problem}")
        with _translated(url), httpcore.ConnectionPool(
            network_backend=backend, ssl_context=self._tls_for(url), max_connections=1
        ) as pool, pool.stream(method, url, headers=[*sent.items()], content=content) as response:  # fmt: skip
            body, is_truncated = _read(response.iter_stream(), answer_limit_bytes)
            return Answer(
                status=response.status,
                headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
                body=body,
                is_truncated=is_truncated,
                duration_ms=(time.monotonic() - started) * 1000,
                address=backend.address,
            )

    def _tls_for(self, url: str) -> ssl.SSLContext | None:
        """How to check a certificate; reading those that the machine trusts takes longer than a request without."""
        return self._tls or (ssl.create_default_context() if url.startswith("https:") else None)


def _read(chunks: Iterable[bytes], limit: int) -> tuple[bytes, bool]:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    host = urlsplit(url).hostname
    try:
        yield
    except httpcore.TimeoutException:
        raise AnswerTimedOut(f"{host} did not answer completely in time") from None
    except httpcore.LocalProtocolError as error:
        raise RequestMalformed(f"request: {error}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise HostUnreachable(f"{host}: {type(error).__name__}: {error}") from None
    except (httpcore.UnsupportedProtocol, UnicodeError) as error:
        raise InvalidUrl(f"url: {error}") from None


class _CheckedBackend(NetworkBackend):
    """Connects only to addresses it has checked, and gives every operation what is left of the time."""

    def __init__(self, allowed: tuple[Network, ...], resolver: Resolver, deadline: float) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()
        self.address = ""

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:  # fmt: skip
        """Resolve, check all, connect to the first that answers."""
        problem: Exception | None = None
        for address in self._checked(host, port):
            try:
                stream = self._backend.connect_tcp(address, port, _left(self._deadline), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
                continue
            self.address = address
            return _BoundedStream(stream, self._deadline)
        raise problem or httpcore.ConnectError(f"{host} has no address")

    def _checked(self, host: str, port: int) -> list[str]:
        addresses = _in_time(lambda: list(self._resolver(host.strip("[]"), port)), self._deadline)
        for address in addresses:
            if is_blocked(ipaddress.ip_address(address.partition("%")[0]), self._allowed):
                raise AddressBlocked(f"{host} leads to {address}, which may not be reached from here")
        return addresses


class _BoundedStream(NetworkStream):
    def __init__(self, stream: NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, for as long as there is time."""
        return self._stream.read(min(max_bytes, _READ_BYTES), _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, for as long as there is time."""
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        """Close."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        """TLS to the host that was asked for, whichever of its addresses was taken."""
        try:
            left = _left(self._deadline)
        except httpcore.ReadTimeout:
            # Nobody else knows of this connection yet, so nobody else would close it.
            self._stream.close()
            raise
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Facts about the connection."""
        return self._stream.get_extra_info(info)


def _in_time(ask: Callable[[], list[str]], deadline: float) -> list[str]:
    """What the resolver answers. It knows no deadline, so a thread waits for it, and is left behind if need be."""
    answers: list[list[str] | Exception] = []

    def wait() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            answers.append(error)

    waiting = threading.Thread(target=wait, name="resolver", daemon=True)
    waiting.start()
    waiting.join(_left(deadline))
    if not answers:
        raise httpcore.ConnectTimeout("the name was not resolved in time")
    (answer,) = answers
    if isinstance(answer, OSError):
        raise httpcore.ConnectError(f"cannot be resolved ({answer.strerror or answer})")
    if isinstance(answer, Exception):
        raise answer
    return answer


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout("no time left")
    return seconds


def open_outbound_http(settings: Settings) -> OutboundHttp:
    """The client that these settings allow."""
    return OutboundHttp(allowed_networks=settings.outbound_allowed_networks)
