"""The newest link of the chain, kept in Redis too: who cuts off the newest rows of SQL, or puts an older copy of it in
its place, leaves a chain that is whole in itself. That it ends before the anchor tells.

An anchor is moved on by the scheduler, only along a chain that holds it. Where there is none (a new or emptied Redis),
the newest link becomes it: from then on something is known. After a restore somebody has to accept what there is.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import structlog
from pydantic import Field, TypeAdapter
from redis.exceptions import ResponseError

from teknav_ops.audit.chain.database_source import DatabaseSource
from teknav_ops.audit.chain.links import Link
from teknav_ops.payloads import plain
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client, is_wrong_type

log = structlog.get_logger("teknav.audit")

Kept = TypeVar("Kept", bound=Any)
#: As SQL's columns hold it.
LinkNumber = Annotated[int, Field(ge=0, lt=2**63)]

_HOW: Final = "rows were cut off or written anew, or SQL was restored or lost its newest writes (`teknav audit accept`)"


@dataclasses.dataclass(frozen=True, slots=True)
class Anchor:
    """A link that was seen as the newest. `since`: no anchor was lost after this (ISO, UTC)."""

    number: LinkNumber
    hash: str
    since: str


def read_anchor(client: Client) -> Anchor | None:
    """The anchor; None where there is none. Raises redis-py's errors."""
    return read_kept(client, keys.AUDIT_ANCHOR, Anchor)


def read_kept(client: Client, key: str, kind: type[Kept]) -> Kept | None:
    """What was kept as JSON; None where there is nothing, or what somebody else has put there."""
    try:
        found = client.get(key)
        if found is None:
            return None
        form = TypeAdapter(kind)
        kept = form.validate_json(found)
        plain.check(form.dump_python(kept, mode="json"))
        return kept
    except (ResponseError, ValueError) as error:
        # What is only not shown now is still known.
        if isinstance(error, ResponseError) and not is_wrong_type(error):
            raise
        log.warning("audit.unreadable", key=key, error=str(error))
        return None


def anchor_fault(source: DatabaseSource, anchor: Anchor | None) -> str | None:
    """What is wrong with a chain that once held the anchor."""
    if anchor is None:
        return None
    link = source.link(anchor.number)
    if isinstance(link, Link) and link.hash == anchor.hash:
        return None
    if link is not None:
        return f"link {anchor.number} is not the one that was there before: {_HOW}"
    checkpoint = source.pruned()
    if checkpoint is not None and anchor.number <= (checkpoint.pruned_to_number or 0):
        return None
    return f"the chain ends at link {source.last_number()}, but link {anchor.number} was there before: {_HOW}"


def move_anchor(client: Client, source: DatabaseSource, anchor: Anchor | None) -> Anchor | None:
    """Make the newest link the anchor. The chain must hold the one before."""
    newest = source.link(source.last_number())
    if not isinstance(newest, Link) or (anchor is not None and newest.number == anchor.number):
        return anchor
    moved = Anchor(newest.number, newest.hash, datetime.now(UTC).isoformat() if anchor is None else anchor.since)
    client.set(keys.AUDIT_ANCHOR, json.dumps(dataclasses.asdict(moved)))
    if anchor is None:
        log.warning("audit.anchored", number=moved.number)
    return moved
