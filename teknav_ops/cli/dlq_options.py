"""What commands that choose dead letters have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli.options import parse_window
from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter

ErrorTypeOption = Annotated[str | None, typer.Option("--error-type", help="Only this error type.")]
FingerprintOption = Annotated[str | None, typer.Option("--fingerprint", help="Only this cause (see `dlq groups`).")]
TextOption = Annotated[str | None, typer.Option("--text", help="Only with this in error, id or a payload value.")]
AgainOption = Annotated[str | None, typer.Option("--replay", help="Only what failed again after this batch replay.")]
OldestOption = Annotated[int | None, typer.Option("--limit", "-n", help="Only the oldest so many of what matches.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def filter_of(
    error_type: str | None, fingerprint: str | None, text: str | None, replay: str | None, since: str | None,
    until: str | None,
) -> DeadLetterFilter:  # fmt: skip
    """The filter that was typed. Raises InvalidRequest."""
    window = parse_window(since, until)
    return DeadLetterFilter(error_type=error_type, fingerprint=fingerprint, text=text, replay=replay, window=window)


def by_count(plan: Replay | Deletion) -> list[tuple[str, int]]:
    """How many of a frozen list are of each error type, most frequent first."""
    return sorted(plan.counts_by_error_type.items(), key=lambda pair: -pair[1])
