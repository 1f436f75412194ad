"""Causes of dead letters as a DataFrame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.jobs.dead_letter_causes import DeadLetterGroup
from teknav_ops.jobs.paging import check_limit

if TYPE_CHECKING:
    import pandas

    from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries

_COLUMNS: Final = ("queue", *(field.name for field in dataclasses.fields(DeadLetterGroup)))
#: In place of an error type, for causes that are not listed.
RARER: Final = "(rarer causes)"


def frame(queries: DeadLetterQueries, queues: Sequence[str], *, limit: int) -> pandas.DataFrame:
    """The `limit` most frequent causes of each queue, most frequent first, and a row for its rarer ones.

    Raises InvalidRequest for what is no limit.
    """
    import pandas as pd

    check_limit(limit)
    rows = [row for queue in queues for row in _rows(queries, queue, limit)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).sort_values("count", ascending=False, ignore_index=True)


def _rows(queries: DeadLetterQueries, queue: str, limit: int) -> Iterator[dict[str, Any]]:
    causes = queries.causes(queue, limit=limit)
    yield from ({"queue": queue} | dataclasses.asdict(group) for group in causes.groups)
    rarer_count = sum(causes.letters_by_type.values()) - sum(group.count for group in causes.groups)
    if causes.count > limit and rarer_count > 0:
        told = {"example_error": f"{causes.count - limit:,} causes"}
        yield {"queue": queue, "error_type": RARER, "fingerprint": "", "count": rarer_count} | told
