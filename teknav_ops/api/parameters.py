"""Parameters that several routes take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Query

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.paging import PAGE_LIMIT, Window

Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="At most so many.")]
Since = Annotated[datetime | None, Query(description="From this time on; without a zone it is UTC.")]
Until = Annotated[datetime | None, Query(description="Before this time.")]
#: Text without control characters: PostgreSQL takes no null character, and nothing of ours holds another.
PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[str | None, Query(min_length=1, max_length=200, pattern=PLAIN, description="Values hold this.")]
PageCursor = Annotated[
    str | None,
    Query(max_length=300, pattern=PLAIN, description="Go on after this: `next_cursor` of the page before."),
]
Short = Annotated[str | None, Query(max_length=200, pattern=PLAIN)]
QueueName = Annotated[str, Path(max_length=100, description="The queue's name.", examples=["ai:content"])]
JobId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="The job's id.")]
ReplayId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,32}$", description="The batch replay's id.")]
DeletionId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,32}$", description="The batch deletion's id.")]


def window_of(since: datetime | None, until: datetime | None) -> Window:
    """A span of time. Raises InvalidRequest when it ends before it begins."""
    window = Window(_in_utc(since), _in_utc(until))
    if window.since is not None and window.until is not None and window.until < window.since:
        raise InvalidRequest("until: is before since")
    return window


def _in_utc(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("since/until: is no time that can be told") from None
