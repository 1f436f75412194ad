"""Calls to addresses that others chose: what is refused, and how little a hostile server can do."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from pathlib import Path

import httpcore2 as httpcore
import pytest

from teknav_ops.outbound.addresses import AddressBlocked, InvalidUrl, RequestMalformed, check_url, is_blocked
from teknav_ops.outbound.http import AnswerTimedOut, HostUnreachable, OutboundHttp, _BoundedStream, _CheckedBackend
from tests.support.certificates import self_signed
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.ports import listen, port_of

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
def http() -> OutboundHttp:
    return OutboundHttp(allowed_networks=LOOPBACK)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "192.0.0.170", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
        "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "fd00::1", "fe80::1", "fec0::1", "ff02::1",
        "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_plainly_public_are_refused(address: str) -> None:
    assert is_blocked(ipaddress.ip_address(address))


#: https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry, as of 2025; and the
#: multicast and reserved blocks.
SPECIAL = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32",
    "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "255.255.255.255/32", "224.0.0.0/4", "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001::/23", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
    "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip


@pytest.mark.parametrize("network", SPECIAL)
def test_no_address_of_a_special_registry_is_reached_at_either_end_nor_through_a_carrier(network: str) -> None:
    block = ipaddress.ip_network(network)
    ends = [block[0], block[-1], block[block.num_addresses // 2]]
    if block.version == 4:
        # NAT64, 6to4 and mapped: an IPv4 address in IPv6 clothes.
        ends += [ipaddress.ip_address((0x64FF9B << 96) | int(end)) for end in ends if int(end) > 0xFFFF]
        ends += [ipaddress.ip_address((0x2002 << 112) | int(end) << 80) for end in ends[:3]]
        ends += [ipaddress.ip_address((0xFFFF << 32) | int(end)) for end in ends[:3]]

    assert [str(end) for end in ends if not is_blocked(end)] == []


@pytest.mark.parametrize(
    "address",
    ["192.88.98.255", "192.88.100.0", "192.0.1.1", "192.175.47.255", "198.20.0.0", "2001:200::1", "2620:4f:8001::1"],
)
def test_a_special_block_ends_where_it_ends(address: str) -> None:
    assert not is_blocked(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not_blocked(address: str) -> None:
    assert not is_blocked(ipaddress.ip_address(address))


def test_an_allowed_network_is_allowed_in_every_spelling() -> None:
    allowed = (ipaddress.ip_network("10.1.0.0/16"),)
    assert not is_blocked(ipaddress.ip_address("10.1.2.3"), allowed)
    assert not is_blocked(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert is_blocked(ipaddress.ip_address("10.2.0.1"), allowed)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "[::1]",
     "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "169.254.169.254", "[fd00::1]", "0", "0.0.0.0"],
)  # fmt: skip
def test_no_spelling_of_a_private_address_gets_through(host: str, receiver: HttpReceiver) -> None:
    with pytest.raises((AddressBlocked, HostUnreachable)) as raised:
        OutboundHttp().request("GET", f"http://{host}:{receiver.port}/")

    # A system without IPv6 cannot resolve some of them; what matters is that nothing arrives.
    assert receiver.requests == []
    if ":" not in host:
        assert isinstance(raised.value, AddressBlocked)


def test_a_name_is_judged_by_all_its_addresses(receiver: HttpReceiver) -> None:
    for addresses in (["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]):
        http = OutboundHttp(resolver=lambda host, port, found=tuple(addresses): list(found))
        with pytest.raises(AddressBlocked, match=r"rebind\.example leads to"):
            http.request("GET", f"http://rebind.example:{receiver.port}/")
    assert receiver.requests == []


def test_a_name_that_changes_its_answer_is_asked_once_and_the_checked_address_is_used(receiver: HttpReceiver) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        # What is allowed first, what must not be reached ever after.
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    answer = OutboundHttp(allowed_networks=LOOPBACK, resolver=rebinding).request(
        "GET", f"http://rebind.example:{receiver.port}/x"
    )

    assert (answer.status, answer.address, asked) == (200, "127.0.0.1", ["rebind.example"])
    assert receiver.requests[0].headers["host"] == f"rebind.example:{receiver.port}"


@pytest.mark.parametrize(
    ("host", "sent"),
    [("[2001:DB8::0:1]", "[2001:db8::1]"), ("[::ffff:1.2.3.4]", "[::ffff:102:304]"), ("1.2.3.4", "1.2.3.4")],
)
def test_an_address_stands_in_the_host_header_as_http_has_it(receiver: HttpReceiver, host: str, sent: str) -> None:
    http = OutboundHttp(allowed_networks=LOOPBACK, resolver=lambda host, port: ["127.0.0.1"])
    assert http.request("GET", f"http://{host}:{receiver.port}/").status == 200
    assert receiver.requests[0].headers["host"] == f"{sent}:{receiver.port}"


def test_redirects_are_not_followed(http: OutboundHttp, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(302, headers={"Location": f"{receiver.url}/secret"}), Answer()]
    assert http.request("POST", f"{receiver.url}/hook", content=b"{}").status == 302
    assert [request.path for request in receiver.requests] == ["/hook"]


def test_proxies_of_the_environment_are_ignored(
    http: OutboundHttp, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert http.request("GET", receiver.url).status == 200


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "file:///etc/passwd", "//example.com", "example.com", "http://",
     "http://user:pw@example.com/", "http://user@example.com", "http://exa mple.com/", "http://example.com/\r\nX: y", "http://example.com:99999/",
     "http://[::1", "", "gopher://x", "http://example.com:abc/", "http://example.com:0/", "http://[fe80::1%25eth0]/"],
)  # fmt: skip
def test_bad_urls_are_refused_before_anything_is_resolved(url: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError("resolved")

    with pytest.raises(InvalidUrl, match=r"^url: "):
        check_url(url)
    with pytest.raises(InvalidUrl):
        OutboundHttp(resolver=never).request("GET", url)


def test_headers_that_http_cannot_carry_are_refused(http: OutboundHttp, receiver: HttpReceiver) -> None:
    with pytest.raises(RequestMalformed):
        http.request("GET", receiver.url, headers={"x-one": "a\r\nx-two: b"})
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-note", "سلام"),
        ("x-note", "caf\u00e9"),
        ("x-note", " padded"),
        ("x-note", "a\u2028b"),
        ("یادداشت", "x"),
        ("a b", "x"),
    ],
)
def test_a_header_that_is_not_ascii_is_refused_by_name(
    http: OutboundHttp, receiver: HttpReceiver, name: str, value: str
) -> None:
    with pytest.raises(RequestMalformed, match=r"^request: header "):
        http.request("GET", receiver.url, headers={name: value})
    assert receiver.requests == []


def test_a_url_in_any_script_is_called_as_http_carries_it(receiver: HttpReceiver) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    http = OutboundHttp(allowed_networks=LOOPBACK, resolver=resolver)
    answer = http.request("GET", f"http://نمونه.ایران:{receiver.port}/hook/سلام%20؟/100%?نام=ی%DB%8C#بخش")

    assert answer.status == 200 and asked == ["xn--hhbbbed.xn--mgba3a4f16a"]
    (request,) = receiver.requests
    assert request.headers["host"] == f"xn--hhbbbed.xn--mgba3a4f16a:{receiver.port}"
    assert request.path == "/hook/%D8%B3%D9%84%D8%A7%D9%85%20%D8%9F/100%25?%D9%86%D8%A7%D9%85=%DB%8C%DB%8C"


@pytest.mark.parametrize(
    "url",
    ["http://☃.example/", "http://a..example/", "http://-a.example/", f"http://{'a' * 64}.example/",
     f"http://{'ن' * 60}.example/", "http://a.example/\u2028", "http://a.example/\x85", "http://half\ud800.example/",
     "http://\u202eexample.com/", "http://a%2fb.example/"],
)  # fmt: skip
def test_a_url_that_no_name_server_knows_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl, match=r"^url: "):
        check_url(url)


@pytest.mark.parametrize("name", ["Host", "host", "Content-Length", "Transfer-Encoding", "Connection"])
def test_headers_that_would_lead_elsewhere_are_refused(http: OutboundHttp, receiver: HttpReceiver, name: str) -> None:
    with pytest.raises(RequestMalformed, match=f"header {name.lower()}: is set by the sender"):
        http.request("POST", receiver.url, headers={name: "internal.example"}, content=b"x")
    assert receiver.requests == []


def test_a_resolver_that_hangs_is_not_waited_for(receiver: HttpReceiver) -> None:
    over = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        over.wait()
        return ["127.0.0.1"]

    with pytest.raises(AnswerTimedOut):
        OutboundHttp(allowed_networks=LOOPBACK, resolver=hanging).request(
            "GET", f"http://slow.example:{receiver.port}/", timeout_seconds=0.2
        )
    assert receiver.requests == []
    over.set()


def test_an_answer_is_cut_at_the_limit_and_never_unpacked(http: OutboundHttp, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b"x" * 500_000)]
    answer = http.request("GET", receiver.url, answer_limit_bytes=2_048)
    assert (len(answer.body), answer.is_truncated) == (2_048, True)

    packed = b"\x1f\x8b\x08\x00 not really gzip"
    receiver.answers = [Answer(body=packed, headers={"Content-Encoding": "gzip"})]
    assert http.request("GET", receiver.url).body == packed


@pytest.mark.parametrize("answer", [Answer(delay_seconds=FOR_EVER), Answer(body=b"x" * 10_000, drip_seconds=0.05)])
def test_one_deadline_bounds_the_whole_exchange(http: OutboundHttp, receiver: HttpReceiver, answer: Answer) -> None:
    receiver.answers = [answer]
    with pytest.raises(AnswerTimedOut):
        http.request("GET", receiver.url, timeout_seconds=0.5)


def test_headers_that_drip_or_never_end_are_bounded(http: OutboundHttp) -> None:
    with _raw_server(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000) as port, pytest.raises(HostUnreachable):
        http.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=60)
    with (
        _raw_server(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000, drip_seconds=0.25) as port,
        pytest.raises(AnswerTimedOut),
    ):
        http.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=0.5)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"])
def test_what_is_no_whole_answer_is_tried_again(http: OutboundHttp, said: bytes) -> None:
    with _raw_server(said) as port, pytest.raises(HostUnreachable):
        http.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=60)


def test_nobody_there_and_no_such_name(http: OutboundHttp) -> None:
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1"):
        http.request("GET", "http://127.0.0.1:9/", timeout_seconds=60)

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(HostUnreachable, match="cannot be resolved"):
        OutboundHttp(resolver=unknown).request("GET", "http://nowhere.example/", timeout_seconds=60)


def test_tls_is_checked_against_the_name_that_was_asked_for(tmp_path: Path) -> None:
    certificate, key = self_signed("hooks.example", tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with _tls_server(certificate, key) as port:
        http = OutboundHttp(allowed_networks=LOOPBACK, resolver=here, tls=trusting)
        assert http.request("GET", f"https://hooks.example:{port}/").status == 200
        with pytest.raises(HostUnreachable, match="certificate"):
            http.request("GET", f"https://other.example:{port}/")
        with pytest.raises(HostUnreachable, match="certificate"):
            OutboundHttp(allowed_networks=LOOPBACK, resolver=here).request("GET", f"https://hooks.example:{port}/")


class _raw_server:  # noqa: N801
    """Accepts one connection, says some bytes, and closes."""

    def __init__(self, said: bytes, *, drip_seconds: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self._said, self._drip_seconds, self._tls = said, drip_seconds, tls
        self._socket = listen()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return port_of(self._socket)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
                with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as peer:
                    peer.recv(65_536)
                    pieces = [self._said] if not self._drip_seconds else [bytes([byte]) for byte in self._said]
                    for piece in pieces:
                        peer.sendall(piece)
                        self._ended.wait(self._drip_seconds)
            except ssl.SSLError:
                continue
            except OSError:
                if self._socket.fileno() < 0:
                    return


def _tls_server(certificate: Path, key: Path) -> _raw_server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return _raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", tls=context)


def test_a_connection_whose_time_is_up_before_it_speaks_tls_is_closed() -> None:
    with listen() as server:
        backend = _CheckedBackend(
            (ipaddress.ip_network("127.0.0.0/8"),), lambda host, port: ["127.0.0.1"], time.monotonic() + 60
        )
        stream = backend.connect_tcp("receiver.example", port_of(server))
        connection = stream.get_extra_info("socket")
        late = _BoundedStream(stream, time.monotonic() - 1)

        with pytest.raises(httpcore.ReadTimeout):
            late.start_tls(ssl.create_default_context(), "receiver.example")
        assert connection.fileno() == -1
