"""argon2 at its least cost, for tests that sign in: what a hash costs is the subject of access/test_passwords.py."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from teknav_ops.access import passwords

#: As the product makes it.
REAL_HASHER: Final = passwords._hasher


@functools.cache
def _cheap_hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Hash and verify in microseconds, in this process only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", _cheap_hasher)
        yield
