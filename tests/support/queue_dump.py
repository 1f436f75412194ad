"""All that Redis holds of one queue, read in one round trip, for comparing it with a model or with itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError

from teknav_ops.redis_state.keys import QueueKeys

_SOURCE: Final = (Path(__file__).parent / "lua" / "dump.lua").read_text()
_DIGEST: Final = hashlib.sha1(_SOURCE.encode(), usedforsecurity=False).hexdigest()


def dump_queue(client: redis.Redis, keys: QueueKeys, *, with_others: bool = False) -> QueueDump:
    """What a queue's keys hold at this instant; `with_others`: and all keys beside them."""
    prefix = "teknav:" if with_others else f"teknav:{{{keys.queue}}}:"
    try:
        raw = client.evalsha(_DIGEST, 0, prefix)
    except NoScriptError:
        raw = client.eval(_SOURCE, 0, prefix)
    return parse_dump(keys, raw)


def dump_command(keys: QueueKeys) -> tuple[Any, ...]:
    """The command behind `dump_queue`, for a pipeline; its answer goes to `parse_dump`."""
    return "EVAL", _SOURCE, 0, f"teknav:{{{keys.queue}}}:"


def parse_dump(keys: QueueKeys, raw: str) -> QueueDump:
    """The script's answer."""
    found = json.loads(raw)
    content = {key: _READERS[kind](value) for key, kind, _, value in found}
    return QueueDump(keys, content, {key: ends_at for key, _, ends_at, _ in found if ends_at >= 0})


class QueueDump:
    """One queue's keys and what they held. Two dumps are equal when nothing had changed between them."""

    def __init__(self, keys: QueueKeys, content: dict[str, Any], ends_at_ms: dict[str, int]) -> None:
        self.keys = keys
        #: By full key: str, dict, list, set, dict of scores, or list of (id, fields).
        self.content = content
        #: By full key, of those that expire.
        self.ends_at_ms = ends_at_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueueDump) and self.content == other.content

    __hash__ = None  # type: ignore[assignment]

    def strings(self, key: str) -> str | None:
        """A string key."""
        return self.content.get(key)

    def hashes(self, key: str) -> dict[str, str]:
        """A hash; empty when there is none."""
        return self.content.get(key, {})

    def lists(self, key: str) -> list[str]:
        """A list; empty when there is none."""
        return self.content.get(key, [])

    def scores(self, key: str) -> dict[str, float]:
        """A sorted set as member -> score, in its order."""
        return self.content.get(key, {})

    def family(self, prefix: str) -> dict[str, Any]:
        """The keys of a family, by what follows its prefix."""
        return {key[len(prefix) :]: value for key, value in self.content.items() if key.startswith(prefix)}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Every job's record, by id."""
        return self.family(self.keys.job_family)

    def audit(self) -> list[dict[str, str]]:
        """The entries of the audit stream, in order, without their ids."""
        return [fields for _, fields in self.content.get(self.keys.audit, [])]


def changed_keys(before: QueueDump, after: QueueDump) -> set[str]:
    """The keys that hold something else, or end at another time."""
    return {
        key
        for key in before.content.keys() | after.content.keys()
        if (before.content.get(key), before.ends_at_ms.get(key)) != (after.content.get(key), after.ends_at_ms.get(key))
    }


def family_of(key: str) -> str:
    """A key without its queue and its id: `teknav:{q}:job:1` is `job:`."""
    return re.sub(r"^teknav:(\{[^}]+\}:)?([^:]+:?).*$", r"\2", key)


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "string": str,
    "hash": _pairs,
    "list": list,
    "set": set,
    "zset": lambda flat: {member: float(score) for member, score in _pairs(flat).items()},
    "stream": lambda entries: [(entry_id, _pairs(fields)) for entry_id, fields in entries],
}
