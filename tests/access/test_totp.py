"""Codes by time, against the vectors of their standards."""

from __future__ import annotations

import base64

import pytest

from teknav_ops.access import totp

#: "12345678901234567890", of RFC 4226 appendix D and RFC 6238 appendix B.
KEY = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    assert totp.code_of(KEY, at // 30, digits=8) == code
    assert totp.code_of(KEY, at // 30) == code[-6:]


def test_codes_are_those_of_rfc_4226() -> None:
    listed = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489"

    assert [totp.code_of(KEY, count) for count in range(10)] == listed.split()


def test_a_code_counts_in_its_period_and_in_those_beside_it() -> None:
    code, period = totp.code_of(KEY, 1_000), 30_000
    found = {at: totp.matching_step(KEY, code, period + at) for at in (-31, -30, 0, 29.9, 59.9, 60)}

    assert found == {-31: None, -30: 1_000, 0: 1_000, 29.9: 1_000, 59.9: 1_000, 60: None}


def test_a_code_is_read_with_whichever_digits_the_keyboard_has() -> None:
    assert totp.read_code(" ۱۲۳ ۴۵۶ ") == totp.read_code("١٢٣٤٥٦") == totp.read_code("123456") == "123456"
    for other in ("", "12345", "1234567", "12345a", "½23456", "²23456"):
        assert totp.read_code(other) is None


def test_the_address_for_apps_names_who_and_where() -> None:
    uri = totp.uri_of("ABCD", "سارا & co")

    assert uri == ("otpauth://totp/TekNav%20ops%3A%D8%B3%D8%A7%D8%B1%D8%A7%20%26%20co?secret=ABCD&issuer=TekNav%20ops")
    # A slash would be another address.
    assert totp.uri_of("ABCD", "a/b").startswith("otpauth://totp/TekNav%20ops%3Aa%2Fb?")


def test_keys_are_of_160_bits_and_never_twice_the_same() -> None:
    new = {totp.new_key() for _ in range(10)}

    assert len(new) == 10 and {len(base64.b32decode(key)) for key in new} == {20}
