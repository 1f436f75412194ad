"""How a question is asked: its file, its parameters checked, its answer as a DataFrame with times in UTC."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final, get_args

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.open import Snapshot

if TYPE_CHECKING:
    import pandas

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = datetime(9000, 1, 1, tzinfo=UTC)
_LIMIT: Final = 1_000_000
_SHORTEST: Final = timedelta(seconds=1)
_WIDEST: Final = timedelta(days=36_525)


def ask(snapshot: Snapshot, question: str, **parameters: Any) -> pandas.DataFrame:
    """The answer to `queries/<question>.sql`, on a connection of its own: threads may ask at once.

    Raises:
        NoSnapshot: the file has been damaged since it was opened.
    """
    cursor = snapshot.cursor()
    try:
        answer: pandas.DataFrame = cursor.sql(sql_of(question), params=parameters).to_arrow_table().to_pandas()
        return answer
    except duckdb.Error as error:
        if damaged := snapshot.damaged(error):
            raise damaged from error
        raise
    finally:
        cursor.close()


@functools.cache
def sql_of(question: str) -> str:
    """The text of a question."""
    return resources.files("teknav_ops.snapshots").joinpath("queries", f"{question}.sql").read_text("utf-8")


def window(since: datetime | None, until: datetime | None) -> dict[str, datetime]:
    """Both ends as parameters; an open end is far away. Raises InvalidRequest."""
    ends = {"since": since or _BEGINNING, "until": until or _END}
    for name, moment in ends.items():
        if not isinstance(moment, datetime):
            raise InvalidRequest(f"{name}: {moment!r:.60} is no time; write datetime(…, tzinfo=UTC)")
        if moment.tzinfo is None:
            raise InvalidRequest(f"{name}: {moment} has no time zone; write datetime(…, tzinfo=UTC)")
    if ends["since"] > ends["until"]:
        raise InvalidRequest(f"since: {since} is after until, {until}")
    return ends


def require_span(since: datetime | None, until: datetime | None) -> None:
    """For a question that compares: both ends must be there, one before the other. Raises InvalidRequest."""
    for name, moment in (("since", since), ("until", until)):
        if moment is None:
            raise InvalidRequest(f"{name}: must be given; write datetime(…, tzinfo=UTC)")
    ends = window(since, until)
    if ends["since"] == ends["until"]:
        raise InvalidRequest(f"since: {since} is not before until")


def named(queues: str | Sequence[str] | None) -> dict[str, list[str] | None]:
    """One queue, several, or all, as a parameter. Raises InvalidRequest."""
    if queues is None:
        return {"queues": None}
    names = [queues] if isinstance(queues, str) else list(queues) if isinstance(queues, Iterable) else [queues]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise InvalidRequest(f"queues: {wrong[0]!r:.60} is no name of a queue")
    return {"queues": names}


def bucket(width: timedelta) -> dict[str, int]:
    """The width of time buckets as a parameter. They begin at multiples of it since 1970. Raises InvalidRequest."""
    if not isinstance(width, timedelta) or not _SHORTEST <= width <= _WIDEST:
        raise InvalidRequest(f"width: {width!r:.60} is no timedelta between a second and a hundred years")
    return {"width_ms": round(width / timedelta(milliseconds=1))}


def at_most(limit: int, *, name: str = "limit") -> dict[str, int]:
    """A number of rows as a parameter. Raises InvalidRequest."""
    if not isinstance(limit, Integral) or isinstance(limit, bool) or not 1 <= limit <= _LIMIT:
        raise InvalidRequest(f"{name}: {limit!r:.60} is not a whole number between 1 and {_LIMIT:,}")
    return {name: limit}


def of_outcome(outcome: RunOutcome) -> dict[str, str]:
    """Which runs a duration is of, as a parameter. Raises InvalidRequest."""
    if outcome not in get_args(RunOutcome):
        raise InvalidRequest(f"outcome: {outcome!r} is none of {', '.join(get_args(RunOutcome))}")
    return {"outcome": outcome}
