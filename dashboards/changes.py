"""What changed between two states of a page: the browser gets that, not everything once more.

A change is one of `{"v": value}` (put this there), `{"d": {name: change}, "x": [names that went]}` for an object, and
`{"l": [...]}` for a list, whose entries are `[first, count]` (as many of the old ones as they were), `[index, change]`
(an old one, changed) or a change without an old one. `applied` in `assets/js/client.js` is the other side.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import Any, Final

Change = dict[str, Any]

_SHORT_CHARACTERS: Final = 500
#: By these the entries of a list are known again when they have moved.
_NAMES: Final = ("id", "key", "name")


def change(old: Any, new: Any) -> Change | None:
    """What makes `new` of `old`, both plain JSON; None where nothing changed."""
    if old is new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        return _of_objects(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return None if old == new else _of_lists(old, new)
    # 1 equals True in Python, and not in JSON.
    return None if type(old) is type(new) and old == new else {"v": new}


def packed(changed: Change) -> dict[str, str]:
    """A change as it is sent: as JSON, or compressed where that is long. Bokeh would spell each Persian letter with six
    signs.
    """
    text = json.dumps(changed, ensure_ascii=False)
    if len(text) <= _SHORT_CHARACTERS:
        return {"change": text}
    # Half characters cannot be shown anyway.
    return {"packed": b64encode(zlib.compress(text.encode("utf-8", "replace"), 6)).decode("ascii")}


def _of_objects(old: dict[str, Any], new: dict[str, Any]) -> Change | None:
    changed = {name: change(old[name], value) if name in old else {"v": value} for name, value in new.items()}
    parts: Change = {"d": {name: part for name, part in changed.items() if part is not None}}
    if gone := [name for name in old if name not in new]:
        parts["x"] = gone
    return parts if parts["d"] or gone else None


def _of_lists(old: list[Any], new: list[Any]) -> Change:
    places = {name: place for place, entry in enumerate(old) if (name := _name(entry)) is not None}
    if not places:
        return {"v": new}
    entries: list[Any] = []
    for value in new:
        place = places.get(_name(value))
        part = {"v": value} if place is None else change(old[place], value)
        if place is None:
            entries.append(part)
        elif part is not None:
            entries.append([place, part])
        elif entries and _is_run(entries[-1]) and sum(entries[-1]) == place:
            entries[-1][1] += 1
        else:
            entries.append([place, 1])
    return {"l": entries}


def _is_run(entry: Any) -> bool:
    return isinstance(entry, list) and isinstance(entry[1], int)


def _name(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return None
    name = tuple(entry.get(name) for name in _NAMES)
    return name if any(name) and all(isinstance(part, str | int | None) for part in name) else None
