"""Settings that are JSON lists, in the environment or in a file: read, and their faults told by entry and field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain


def load_list(setting: str, text: str) -> list[Any]:
    """The list in a setting's text, or in the file that it names as `@path`.

    Raises:
        InvalidRequest: names the setting; there is no such file, or no JSON list in it.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else plain.json_problem(error)
            raise InvalidRequest(f"{setting}: {text[1:]}: {words}") from None
    try:
        listed = plain.parse(text, setting)
        plain.check(listed)
    except plain.NotPlain as error:
        raise InvalidRequest(f"{setting}: not JSON: {error}") from None
    if not isinstance(listed, list):
        raise InvalidRequest(f"{setting}: must be a JSON list")
    return listed


def fault_words(
    setting: str, listed: Sequence[Any], fault: Any, *, called: Sequence[str], kind: str | None = None
) -> str:  # fmt: skip
    """One of pydantic's faults as `setting[2] (name): field: problem`.

    `called` are the fields by which an entry is called, the first that it has. Where the field `kind` chooses between
    kinds of entries, pydantic puts its value into the path, which says nothing to a person and is left out.
    """
    number, *path = fault["loc"]
    entry = listed[number] if isinstance(listed[number], dict) else {}
    chosen = entry.get(kind) if kind else None
    fields = [str(part) for part in path if part != chosen] or [kind or "entry"]
    name = next((entry[field] for field in called if entry.get(field)), "unnamed")
    return f"{setting}[{number}] ({name}): {'.'.join(fields)}: {fault['msg'].removeprefix('Value error, ')}"
