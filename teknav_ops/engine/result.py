"""A run's result as it is kept: a short JSON text, made before the outcome is handed in.

What a processor returns may be anything. What JSON cannot carry ends the job as `InvalidResult`; what is too long is
cut.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

from teknav_ops.errors import InvalidResult
from teknav_ops.payloads import plain

RESULT_LIMIT_BYTES: Final = 64 * 1024
#: A value costs two bytes at least, so more parts than this cannot fit.
_PART_LIMIT: Final = RESULT_LIMIT_BYTES // 2
#: Room for the note that says what was cut.
_NOTE_BYTES: Final = 500
_BEGINNING_CHARACTERS: Final = 4_000


def result_text(summary: Any) -> str:
    """The summary as JSON of at most 64 kB; '' for none. Objects of other types are kept as their text.

    Raises:
        InvalidResult: JSON cannot carry it (NaN, half characters, keys that are no text, a cycle), or it has no text.
    """
    if summary is None:
        return ""
    try:
        text = _dump(summary)
    except plain.TooMany:
        return _cut(summary, None)
    except Exception as error:
        raise InvalidResult(f"the job ran to its end, but its result cannot be kept: {_reason(error)}") from None
    return text if len(text.encode()) <= RESULT_LIMIT_BYTES else _cut(summary, text)


def _dump(value: Any) -> str:
    plain.check(value, "result", nulls=True, others=True, part_limit=_PART_LIMIT)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_as_text)


def _as_text(value: Any) -> str:
    text = str(value)
    problem = plain.text_problem(text, nulls=True)
    if problem:
        raise plain.NotPlain("result", f"the text of a {type(value).__name__} {problem}")
    return text


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, plain.NotPlain) else f"making its text raised {type(error).__name__}"


def _cut(summary: Any, text: str | None) -> str:
    """What fits of a result that is too long, with a note."""
    if not isinstance(summary, dict):
        beginning = "" if text is None else text[:_BEGINNING_CHARACTERS]
        return json.dumps({"cut": _note("all but its beginning is"), "beginning": beginning}, ensure_ascii=False)
    room, kept = RESULT_LIMIT_BYTES - _NOTE_BYTES, dict[Any, str]()
    for name, value in itertools.islice(summary.items(), _PART_LIMIT):
        entry = _entry(name, value)
        size = len(entry.encode())
        if entry and size <= room:
            kept[name] = entry
            room -= size
    note = json.dumps(_note(f"{len(summary) - len(kept):,} of its {len(summary):,} entries are"))
    return "{" + ", ".join([*kept.values(), f'"cut": {note}']) + "}"


def _entry(name: Any, value: Any) -> str:
    """An entry as it stands in the JSON object; '' for one that cannot be kept, or is too large by itself."""
    try:
        return _dump({name: value})[1:-1]
    except Exception:
        return ""


def _note(what: str) -> str:
    return f"the result was longer than {RESULT_LIMIT_BYTES // 1024} kB: {what} left out"
