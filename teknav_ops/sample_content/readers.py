"""Readers for the demo: what they view, read and search for, with a few events as broken clients send them."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_QUERIES: Final = (
    "صف",
    "كتاب",
    "کتاب‌ها",
    "می شود",
    "نیم‌فاصله",
    "redis",
    "Redis persistence",
    "cache",
    "avif",
    "passkey",
)
_VISITORS: Final = 400
_USERS: Final = 60
#: One event in so many is one that a client got wrong.
_BROKEN_SHARE: Final = 1 / 40
_LATE_SHARE: Final = 1 / 15


def sample_events(article_ids: list[int], count: int, chance: random.Random) -> list[dict[str, Any]]:
    """Events of the last minutes, some late by days, a few malformed: as `ProcessEvents.events` takes them."""
    return [_event(article_ids, chance) for _ in range(count)]


def _event(article_ids: list[int], chance: random.Random) -> dict[str, Any]:
    visitor = chance.randrange(_VISITORS)
    late = timedelta(days=chance.randrange(1, 6)) if chance.random() < _LATE_SHARE else timedelta(0)
    moment = datetime.now(UTC) - timedelta(seconds=chance.randrange(600)) - late
    kind = chance.choices(("page_view", "read", "share", "search", "search_click"), weights=(50, 20, 3, 12, 5))[0]
    event: dict[str, Any] = {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "kind": kind,
        "occurred_at": moment.isoformat(), "visitor_id": f"visitor-{visitor}",
        "session_id": f"session-{visitor}-{moment:%j%H}",
    }  # fmt: skip
    if visitor < _USERS:
        event["user_id"] = f"user-{visitor}"
    if kind in ("page_view", "read", "share", "search_click"):
        # Popular articles are read more.
        event["article_id"] = article_ids[min(int(chance.paretovariate(1.1)) - 1, len(article_ids) - 1)]
    if kind == "read":
        event["seconds"] = round(chance.lognormvariate(4, 0.8), 1)
    if kind.startswith("search"):
        event["query"] = chance.choice(_QUERIES)
    if kind == "search":
        event["result_count"] = chance.choice((0, 1, 3, 5, 8))
    if chance.random() < _BROKEN_SHARE:
        event["occurred_at"] = "just now"
    return event
