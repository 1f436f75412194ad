"""How often somebody may try to sign in: after a few failures each further one costs a growing wait.

Two counts. One per address, which grows to a quarter of an hour: that stops guessing. One per user name over all
addresses, which never grows beyond half a minute: it slows a guesser with many addresses down to two guesses a minute,
while the user with the right password is kept out for half a minute at most. `teknav users link NAME` always works.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
from typing import Final, Literal

from teknav_ops.access.user_names import name_digest
from teknav_ops.errors import TekNavError
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner


class TooManyAttempts(TekNavError):
    """Too many failed attempts to sign in: wait. Nothing was looked at."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"Too many attempts. Wait {wait_seconds} s and try again.")
        self.wait_seconds = wait_seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """So many failures cost nothing; the next costs `delay_ms`, each further one twice as much, up to `longest_ms`."""

    free_count: int
    delay_ms: int
    longest_ms: int


PER_ADDRESS: Final = Limit(free_count=5, delay_ms=2_000, longest_ms=900_000)
PER_USER: Final = Limit(free_count=10, delay_ms=1_000, longest_ms=30_000)
#: Of codes of one user's second factor. Only who knows the password gets so far, and nobody is kept out by a stranger.
PER_CODE: Final = Limit(free_count=5, delay_ms=2_000, longest_ms=900_000)
_MEMORY_MS: Final = 3_600_000


class Attempts:
    """Counts attempts. Each is counted as failed before the password is looked at, and given back when it was right."""

    def __init__(self, client: Client, *, per_address: Limit = PER_ADDRESS, per_user: Limit = PER_USER) -> None:
        self._runner = ScriptRunner(client)
        self._per_address = per_address
        self._per_user = per_user

    def begin(self, name: str, address: str) -> None:
        """Raises TooManyAttempts."""
        of_address, of_user = _address_key(address), _user_key(name)
        wait_ms = self._run(of_address, "begin", self._per_address)
        if not wait_ms:
            wait_ms = self._run(of_user, "begin", self._per_user)
            if wait_ms:
                self._run(of_address, "refund", self._per_address)
        if wait_ms:
            raise TooManyAttempts(-(-wait_ms // 1000))

    def succeeded(self, name: str, address: str) -> None:
        """The password was right. The address gets this one attempt back: a guesser's own account must not clear it."""
        self._run(_user_key(name), "forget", self._per_user)
        self._run(_address_key(address), "refund", self._per_address)

    def begin_code(self, user_id: int) -> None:
        """A code of the second factor is about to be looked at. Raises TooManyAttempts."""
        wait_ms = self._run(_code_key(user_id), "begin", PER_CODE)
        if wait_ms:
            raise TooManyAttempts(-(-wait_ms // 1000))

    def code_accepted(self, user_id: int) -> None:
        """The code was right."""
        self._run(_code_key(user_id), "forget", PER_CODE)

    def _run(self, key: str, wish: Literal["begin", "refund", "forget"], limit: Limit) -> int:
        call = scripts.sign_in_attempt(
            key, wish=wish, free_count=limit.free_count, delay_ms=limit.delay_ms, longest_ms=limit.longest_ms,
            memory_ms=_MEMORY_MS,
        )  # fmt: skip
        return self._runner.run(call)


def _code_key(user_id: int) -> str:
    return keys.sign_in_attempts("code", str(user_id))


def _user_key(name: str) -> str:
    return keys.sign_in_attempts("user", name_digest(name))


def _address_key(address: str) -> str:
    return keys.sign_in_attempts("address", hashlib.sha256(network_of(address).encode()).hexdigest()[:32])


def network_of(address: str) -> str:
    """The address, or for IPv6 its /64: whoever has one address there has all of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
