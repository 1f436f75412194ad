"""Queue patterns: which queues a right is for, such as `otp:send` or `webhooks:*`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

from teknav_ops.errors import InvalidRequest

QueuePatterns = tuple[str, ...]

#: The patterns of who is not limited.
ALL_QUEUES: Final[QueuePatterns] = ("*",)
_PATTERN: Final = re.compile(r"[a-z0-9:_.*-]{1,100}")
_MOST_PATTERNS: Final = 50


def covers(patterns: QueuePatterns, queue: str) -> bool:
    """Whether one of the patterns names the queue; `*` stands for any characters."""
    return any(fnmatch.fnmatchcase(queue, pattern) for pattern in patterns)


def is_every_queue(patterns: QueuePatterns) -> bool:
    """Whether the patterns limit nothing, also no queue that is yet to come."""
    return any(pattern.strip("*") == "" for pattern in patterns if pattern)


def is_pattern(text: str) -> bool:
    """Whether this is written as a queue's name or a pattern."""
    return _PATTERN.fullmatch(text) is not None


def checked_patterns(patterns: Iterable[str] | None, queues: Iterable[str]) -> QueuePatterns:
    """The patterns as they are kept, sorted, each once; ALL_QUEUES for None and wherever one stands for all.

    Raises:
        InvalidRequest: there is none, one is not written as a pattern, or names none of `queues`.
    """
    if patterns is None:
        return ALL_QUEUES
    wanted, known = sorted(set(patterns)), list(queues)
    if not 1 <= len(wanted) <= _MOST_PATTERNS:
        raise InvalidRequest(f"queues: name 1 to {_MOST_PATTERNS} queues or patterns, such as 'webhooks:*'")
    for pattern in wanted:
        if not is_pattern(pattern):
            raise InvalidRequest(f"queues: {pattern!r} is no queue and no pattern such as 'webhooks:*'")
        if not any(covers((pattern,), queue) for queue in known):
            raise InvalidRequest(f"queues: {pattern!r} names no queue; there are {', '.join(known)}")
    return ALL_QUEUES if is_every_queue(tuple(wanted)) else tuple(wanted)
