"""Refusals that will pass: told apart from those that will not, for each command and however it is sent."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

#: Cannot save to its disk; too few replicas; another's script blocks it. redis-py has no classes for these. Of a
#: pipeline it says the command first, with what was to be written.
_REFUSED_FOR_NOW: Final = re.compile(
    r"\A(?:Command # \d+ \(.*\) of pipeline caused error: )?(?P<words>(?:MISCONF|NOREPLICAS|BUSY) .*)", re.DOTALL
)


class RefusedForNow(RedisError):
    """The server answers, but takes no writes until something about itself is mended; its own words say what."""


def _sorted_error(error: ResponseError) -> RedisError:
    """The error, as one of OUTAGE_ERRORS where it will pass."""
    found = _REFUSED_FOR_NOW.match(str(error))
    return RefusedForNow(found["words"]) if found else error


class SortedErrors:
    """A client that raises RefusedForNow, whichever command was refused, alone or in a pipeline."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[misc]
        except ResponseError as error:
            raise _sorted_error(error) from None

    def pipeline(self, *args: Any, **options: Any) -> Any:
        """Gather commands."""
        pipeline: Any = super().pipeline(*args, **options)  # type: ignore[misc]
        pipeline.execute = functools.partial(_execute, pipeline.execute)
        return pipeline


def _execute(execute: Callable[..., list[Any]], raise_on_error: bool = True) -> list[Any]:
    try:
        answers = execute(raise_on_error=raise_on_error)
    except ResponseError as error:
        raise _sorted_error(error) from None
    return [_sorted_error(answer) if isinstance(answer, ResponseError) else answer for answer in answers]
