"""A failed run as it is recorded: sorted, fingerprinted, and with every secret masked."""

from __future__ import annotations

import json
import traceback
from types import FrameType
from typing import Final

from teknav_ops.jobs.fingerprint import fingerprint
from teknav_ops.payloads.plain import printable
from teknav_ops.payloads.redaction import error_text, redact_end
from teknav_ops.redis_state.scripts import Failure, Run

TYPE_LIMIT_CHARACTERS: Final = 200
STACK_LIMIT_CHARACTERS: Final = 12_000
_DEEPEST_FRAMES: Final = 30


def describe(
    run: Run, exception: BaseException, *, attempt: int, worker: str, secrets: frozenset[str] = frozenset()
) -> Failure:
    """The facts of a failure. Error type is the exception's class name."""
    error_type = printable(type(exception).__name__)[:TYPE_LIMIT_CHARACTERS]
    error = error_text(exception, secrets=secrets) or error_type
    stack = redact_end(_stack(exception), STACK_LIMIT_CHARACTERS, secrets)
    mark = _mark(error_type, error, exception)
    return Failure(error_type, error, stack, mark, attempt_entry(run, attempt, worker, error_type, error, stack))


def attempt_entry(run: Run, attempt: int, worker: str, error_type: str, error: str, stack: str) -> str:
    """A run as it stands in the job's history, as JSON."""
    entry = {
        "attempt": attempt,
        "delivery": run.delivery,
        "started_at": run.started_at_ms / 1000,
        "duration_ms": run.duration_ms,
        "worker": worker,
        "error_type": error_type,
        "error": error,
        "stack": stack,
    }
    return json.dumps(entry, ensure_ascii=False)


def stack_of(frame: FrameType, secrets: frozenset[str] = frozenset()) -> str:
    """Where a thread is, innermost call last, to be kept: secrets masked, cut at its outer end."""
    lines = traceback.format_list(traceback.extract_stack(frame, limit=_DEEPEST_FRAMES))
    return redact_end(printable("".join(lines)), STACK_LIMIT_CHARACTERS, secrets)


def _mark(error_type: str, error: str, exception: BaseException) -> str:
    try:
        return fingerprint(error_type, error, exception.__traceback__)
    except Exception:
        # It may refuse to say where it was raised, too.
        return fingerprint(error_type, error)


def _stack(exception: BaseException) -> str:
    try:
        return printable("".join(traceback.format_exception(exception, limit=-_DEEPEST_FRAMES)))
    except BaseException as error:
        return f"{type(exception).__name__}: its stack could not be written: {type(error).__name__}"
