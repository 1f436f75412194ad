"""An incident's window in one place: what happened when, what changed, how far it reached; and as Markdown to file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.triage.what_changed import WhatChanged

if TYPE_CHECKING:
    import pandas

_CAUSES: Final = 10
_MOMENTS: Final = 100
_CHANGES: Final = 15
_TABLE_HEAD: Final = (
    "| Runs | Jobs | Queue | Error | First | Last | Example |", "| ---: | ---: | --- | --- | --- | --- | --- |",
)  # fmt: skip
_ACTION_COLUMNS: Final = ["at", "actor", "action", "queue", "job_id", "outcome"]
#: What Markdown reads as its own.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#+!|~])")


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """How far it went: the blast radius."""

    failed_run_count: int
    given_up_count: int
    retried_count: int
    job_count: int
    queues: Sequence[str]
    cause_count: int
    trace_count: int

    @property
    def words(self) -> str:
        """One sentence."""
        if not self.failed_run_count:
            return "No run failed."
        return (
            f"{_counted(self.failed_run_count, 'run')} of {_counted(self.job_count, 'job')} "
            f"({_counted(self.trace_count, 'trace')}) failed on {_counted(len(self.queues), 'queue')} with "
            f"{_counted(self.cause_count, 'cause')}; jobs given up: {self.given_up_count:,}."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Incident:
    """The window, as frames with times in UTC.

    `causes`: queue, error_type, fingerprint, n, given_up, jobs, first_at, last_at, example, and first_job_name,
    first_job_id, first_attempt and first_error of the run that it began with; most frequent first.
    `moments`: at, kind, queue, what, oldest first.
    """

    since: datetime
    until: datetime
    queues: Sequence[str] | None
    as_of: str
    changed: WhatChanged
    reach: Reach
    causes: pandas.DataFrame
    moments: pandas.DataFrame

    @property
    def beginnings(self) -> pandas.DataFrame:
        """The causes in the order in which they began."""
        return self.causes.sort_values("first_at", ignore_index=True)

    @property
    def first_failure(self) -> dict[str, Any] | None:
        """The earliest cause, with the run that it began with; None without any."""
        rows = self.beginnings.head(1).to_dict("records")
        return {str(name): value for name, value in rows[0].items()} if rows else None

    @property
    def actions(self) -> pandas.DataFrame:
        """What operators did, oldest first: at, actor, action, queue, job_id, outcome."""
        import pandas as pd

        return pd.DataFrame(self.changed.operator_actions, columns=_ACTION_COLUMNS)

    def to_markdown(self) -> str:
        """The review as a text to complete and keep. Words of others cannot become Markdown of their own."""
        return "\n".join(_lines(self)) + "\n"


def _lines(incident: Incident) -> list[str]:
    queues = ", ".join(incident.queues) if incident.queues else "all queues"
    lines = [
        f"# Incident {incident.since:%Y-%m-%d %H:%M} to {incident.until:%H:%M} UTC", "",
        f"{plain(queues)}; {incident.as_of}.", "", "## How far it went", "", incident.reach.words, "",
    ]  # fmt: skip
    first = incident.first_failure
    if first is not None:
        lines += [
            f"First failed run: {first['first_at']:%H:%M:%S} UTC, {plain(first['queue'])} "
            f"{plain(first['first_job_name'])} `{first['first_job_id']}`, {plain(first['error_type'])}:", "",
            *_quoted(first["first_error"]), "",
        ]  # fmt: skip
    lines += ["## What changed", "", *_bullets(incident.changed.words(_CHANGES), "No change beyond chance."), ""]
    lines += ["## Causes", "", *_TABLE_HEAD]
    lines += [
        f"| {row['n']:,} | {row['jobs']:,} | {plain(row['queue'])} | {plain(row['error_type'])} `{row['fingerprint']}` "
        f"| {row['first_at']:%H:%M:%S} | {row['last_at']:%H:%M:%S} | {plain(row['example'])} |"
        for row in incident.causes.head(_CAUSES).to_dict("records")
    ]
    lines += ["", "## Timeline (UTC)", ""]
    shown = incident.moments.head(_MOMENTS)
    lines += _bullets(
        [f"{row['at']:%H:%M:%S} {row['kind']}: {row['queue'] or ''} {row['what']}" for row in shown.to_dict("records")],
        "Nothing that anybody noted.",
    )
    more = len(incident.moments) - len(shown)
    lines += [f"- and {more:,} more"] if more > 0 else []
    return [*lines, "", "## What we learned", "", "- ", "", "## What we do", "", "- "]


def _bullets(texts: Sequence[str], otherwise: str) -> list[str]:
    return [f"- {plain(text)}" for text in texts] or [otherwise]


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def plain(text: Any) -> str:
    """Words of others on one line, with nothing that Markdown, a table or HTML would read as its own."""
    words = "" if text is None or text != text else " ".join(str(text).split())
    return _SPECIAL.sub(r"\\\1", words)


def _quoted(text: Any) -> list[str]:
    """A block of code that the text itself cannot end."""
    words = "" if text is None or text != text else str(text)
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *words.splitlines(), fence]
