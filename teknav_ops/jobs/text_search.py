"""Finding a text in what jobs carry: in the values, as a person reads them, not in the JSON that is stored.

Letters, digits and spaces are compared as `teknav search` compares them (`storage/persian.py`): «ي» is «ی», «۱» is `1`,
a non-joiner is nothing and `é` is `e`, however it was composed. Where Persian is looked for spaces do not count, since
few write them alike. Names of fields, quotes and escapes of JSON, and what is encrypted, are never found.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain
from teknav_ops.payloads.codec import SECRET_MARK
from teknav_ops.storage.persian import fold

#: Stands between values: it is in no text that is looked for.
_BETWEEN: Final = "\0"
_PERSIAN: Final = re.compile("[\u0600-\u06ff]")


class TextSearch:
    """One text to look for; None is in everything."""

    def __init__(self, text: str | None) -> None:
        """Raises InvalidRequest for a text of which nothing is left to compare."""
        folded = None if text is None else fold(text)
        self._is_spaced = folded is None or not _PERSIAN.search(folded)
        self._wanted = folded if folded is None or self._is_spaced else folded.replace(" ", "")
        if self._wanted == "":
            raise InvalidRequest("text: holds no letter, digit or sign to look for")
        # What each text that holds it must hold, spaces left aside.
        self._longest = max((self._wanted or "").split(" "), key=len)

    def is_in(self, *texts: str, stored_json: str = "") -> bool:
        """Whether one of the texts, or a value in the stored JSON, holds it."""
        wanted = self._wanted
        return wanted is None or self._holds(texts, wanted) or self._is_in_values(stored_json, wanted)

    def _is_in_values(self, stored: str, wanted: str) -> bool:
        # Most records hold nothing alike: they need not be taken apart to see it.
        if stored.isascii() and "\\" not in stored and self._longest not in stored.casefold():
            return False
        return self._holds(_values(stored), wanted)

    def _holds(self, texts: Sequence[str], wanted: str) -> bool:
        folded = fold(_BETWEEN.join(texts))
        return wanted in (folded if self._is_spaced else folded.replace(" ", ""))


@functools.lru_cache(maxsize=64)
def search_for(text: str | None) -> TextSearch:
    """The search for a text. Raises InvalidRequest for one of which nothing is left to compare."""
    return TextSearch(text)


def _values(stored: str) -> list[str]:
    """All values in a JSON text, numbers as they are written; the text itself where it is not JSON."""
    try:
        pending: list[Any] = [json.loads(stored, parse_int=str, parse_float=str, parse_constant=str)]
    except (ValueError, RecursionError):
        return [plain.raw(stored)]
    found: list[str] = []
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [] if value.keys() == {SECRET_MARK} else value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, bool):
            found.append("true" if value else "false")
        elif value is not None:
            found.append(value)
    return found
