"""JSON in which a key stands once in an object. Python keeps the last of two equal ones, and says nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

_KEY_LIMIT_CHARACTERS: Final = 60


class DoubledKey(ValueError):
    """An object has two values for one key; nobody can know which was meant."""

    def __init__(self, key: str) -> None:
        super().__init__(f"has the key {key[:_KEY_LIMIT_CHARACTERS]!r} twice in one object; leave one of them out")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, with or without a byte order mark before it. Raises DoubledKey, and as `json.loads`."""
    return json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text, object_pairs_hook=_unique)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise DoubledKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found
