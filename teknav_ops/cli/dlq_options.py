"""What commands that choose dead letters have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from teknav_ops.cli.options import SinceOption, UntilOption, parse_window
from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter

OldestOption = Annotated[int | None, typer.Option("--limit", "-n", help="Only the oldest so many of what matches.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _filter_of(
    error_type: Annotated[str | None, typer.Option(help="Only this error type.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="Only this cause (see `dlq groups`).")] = None,
    text: Annotated[str | None, typer.Option(help="Only with this in error, id or a payload value.")] = None,
    replay: Annotated[str | None, typer.Option(help="Only what failed again after this batch replay.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
) -> DeadLetterFilter:
    window = parse_window(since, until)
    return DeadLetterFilter(error_type=error_type, fingerprint=fingerprint, text=text, replay=replay, window=window)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `where` is typed as the options that choose dead letters."""
    options = inspect.signature(_filter_of, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(where=_filter_of(**chosen), **given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        parameters += options.values() if name == "where" else [parameter]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def by_count(plan: Replay | Deletion) -> list[tuple[str, int]]:
    """How many of a frozen list are of each error type, most frequent first."""
    return sorted(plan.counts_by_error_type.items(), key=lambda pair: -pair[1])
