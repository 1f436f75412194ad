"""One-time codes by time (RFC 6238): six digits, SHA-1, thirty seconds, as every authenticator app makes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from typing import Final
from urllib.parse import quote, urlencode

DIGITS: Final = 6
PERIOD_SECONDS: Final = 30
#: Clocks differ, and typing takes a moment: the code before and the one after count, too.
_STEPS_AROUND: Final = (0, -1, 1)
_KEY_BYTES: Final = 20
_ISSUER: Final = "TekNav ops"


def new_key() -> str:
    """A random key, in the base 32 that apps take."""
    return base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode()


def code_of(key: str, step: int, *, digits: int = DIGITS) -> str:
    """The code of one period, counted from 1970 (RFC 4226, 5.3)."""
    digest = hmac.digest(base64.b32decode(key), step.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def matching_step(key: str, code: str, at: float) -> int | None:
    """The period, near the moment `at` (seconds since 1970), whose code this is; None where it is none of them."""
    now = int(at // PERIOD_SECONDS)
    for around in _STEPS_AROUND:
        if hmac.compare_digest(code_of(key, now + around), code):
            return now + around
    return None


def read_code(typed: str) -> str | None:
    """Typed text as the digits of a code, whichever digits the keyboard has; None where it is no code."""
    digits = [unicodedata.decimal(letter, None) for letter in typed if not letter.isspace()]
    return "".join(map(str, digits)) if len(digits) == DIGITS and None not in digits else None


def uri_of(key: str, name: str) -> str:
    """The address that sets up an app: as a link on a phone, or made into a QR code."""
    label = quote(f"{_ISSUER}:{name}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': key, 'issuer': _ISSUER}, quote_via=quote)}"
