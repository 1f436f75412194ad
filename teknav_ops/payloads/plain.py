"""Plain data: what JSON can carry and give back equal. The one rule for payloads, results and free data.

Text without lone surrogates and null characters, finite numbers, whole numbers of 64 bits, lists, objects with
text as keys, at most 64 levels deep. Sets, bytes, NaN and objects of Python's own have no JSON form: they are refused,
not turned into some text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeVar

from pydantic import SecretStr

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import unique_keys
from teknav_ops.payloads.exact import OWN, exact, given

DEPTH_LIMIT: Final = 64
#: Records may be older than the limit; readers and their JSON libraries stand more than writers may use.
_READ_DEPTH_LIMIT: Final = 200
_LEAST_INTEGER: Final = -(2**63)
_LARGEST_INTEGER: Final = 2**64 - 1
_PART_LIMIT: Final = 200_000
_PATH_LIMIT_CHARACTERS: Final = 120
_RAW_LIMIT_CHARACTERS: Final = 4_000
_SEALED: Final = re.compile(r'"\$secret"\s*:\s*"[^"]*"')


_Read = TypeVar("_Read")


class NotPlain(ValueError):
    """The value is not plain data. `path` names the place, `problem` says what is wrong there."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class TooMany(NotPlain):
    """The value has more parts than anybody may write; it was not looked at further."""


class _Place:
    """Where a value stands: its name in what holds it. A chain, since most places are never named."""

    __slots__ = ("depth", "holder", "name")

    def __init__(self, name: Any, holder: _Place | None) -> None:
        self.name = name
        self.holder = holder
        self.depth: int = 0 if holder is None else holder.depth + 1

    def __str__(self) -> str:
        names: list[Any] = []
        place: _Place | None = self
        while place is not None:
            names.append(place.name)
            place = place.holder
        return path_of(reversed(names))

    @property
    def field(self) -> str:
        """Its outermost part: the name of a field."""
        place = self
        while place.holder is not None and place.depth > 1:
            place = place.holder
        return str(place)


def path_of(names: Iterable[Any]) -> str:
    """The names of a place, from the outermost on, as one short text: `data.items.3`."""
    path = ".".join(printable(str(name)) for name in names if name != "")
    return path if len(path) <= _PATH_LIMIT_CHARACTERS else path[:_PATH_LIMIT_CHARACTERS] + "…"


def check(
    value: Any,
    name: str = "",
    *,
    nulls: bool = False,
    others: bool = False,
    reserved: str | None = None,
    mask: str | None = None,
    depth_limit: int = DEPTH_LIMIT,
    part_limit: int = _PART_LIMIT,
) -> bool:
    """Raise NotPlain at the first part that JSON cannot carry, or PostgreSQL, which takes no null characters.

    A `SecretStr` counts as its text. With `others`, objects of types that JSON has no form for are left to the caller.
    `reserved` is a key that no object may have, `mask` a text that no part may be. Nothing recurses; a value that holds
    itself ends at the depth limit. False when some part is of a class of somebody's own: see `exact_within`.
    """
    parts, is_own = 0, True
    pending: list[tuple[Any, _Place]] = [(value, _Place(name, None))]
    while pending:
        part, place = pending.pop()
        parts += 1
        is_own = is_own and type(part) in OWN
        if issubclass(type(part), (dict, list, tuple)):
            if place.depth >= depth_limit:
                raise NotPlain(str(place), f"is nested deeper than {depth_limit} levels")
            content = _content(part, place)
            # Before a place is made for each: nobody waits for millions to be refused.
            if parts + len(pending) + len(content) > part_limit:
                raise TooMany(place.field, f"holds more than {part_limit:,} values")
            is_own = is_own and (type(content) is not dict or {str}.issuperset(map(type, content)))
            inside = [(inner, _Place(key, place)) for key, inner in _inside(content, place, nulls, reserved)]
            inside.reverse()
            pending += inside
        else:
            problem = _leaf_problem(part, nulls, others, mask, place)
            if problem:
                raise NotPlain(str(place), problem)
    return is_own


def _content(part: Any, place: _Place) -> Any:
    """What a dict, list or tuple holds. Those of other classes may do anything when they are asked."""
    if type(part) in (dict, list, tuple):
        return part
    return fields_of(part, str(place)) if isinstance(part, dict) else guarded(list, part, str(place))


def _inside(part: Any, place: _Place, nulls: bool, reserved: str | None) -> Iterator[tuple[Any, Any]]:
    if not isinstance(part, dict):
        yield from enumerate(part)
        return
    for name, inner in part.items():
        key = name if type(name) is str else guarded(exact, name, str(place))
        if type(key) is not str:
            raise NotPlain(str(place), f"has a {type(key).__name__} as a key; keys must be text")
        problem = f"{key} marks what is encrypted" if key == reserved else text_problem(key, nulls=nulls)
        if problem:
            raise NotPlain(str(_Place(key, place)), f"as a key, {problem}")
        yield key, inner


def fields_of(data: Mapping[Any, Any], path: str = "") -> dict[Any, Any]:
    """A mapping's entries. Raises NotPlain."""
    return guarded(lambda mapping: dict(mapping.items()), data, path)


def guarded(reader: Callable[[Any], _Read], part: Any, path: str) -> _Read:
    """What a reader makes of a value. Raises NotPlain for one that fails when it is looked into."""
    try:
        return reader(part)
    except Exception as error:
        raise NotPlain(path, f"cannot be read: {type(error).__name__}") from None


def _leaf_problem(part: Any, nulls: bool, others: bool, mask: str | None, place: _Place) -> str | None:
    if issubclass(type(part), SecretStr):
        part = guarded(lambda secret: secret.get_secret_value(), part, str(place))
    kind = type(part)
    if kind not in OWN:
        part = guarded(exact, part, str(place))
        kind = type(part)
    if part is None or kind is bool:
        return None
    if kind is str:
        if mask is not None and part.strip() == mask:
            return f"is {mask}, which only stands for a secret; give the secret itself"
        return text_problem(part, nulls=nulls)
    if kind is int:
        is_short = _LEAST_INTEGER <= part <= _LARGEST_INTEGER
        return None if is_short else "must be a whole number of at most 64 bits; write longer ones as text"
    if kind is float:
        return None if math.isfinite(part) else "must be a finite number: JSON has no NaN and no Infinity"
    if others:
        return None
    return f"must be JSON (text, number, true, false, null, list or object), not {kind.__name__}"


def text_problem(text: str, *, nulls: bool = False) -> str | None:
    """Why a text cannot be stored, or None."""
    if not nulls and "\0" in text:
        return "must not hold null characters"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "must not hold half a character (a lone surrogate such as \\ud800)"
    return None


def printable(text: str) -> str:
    """The text as every output can carry it: half characters are spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def whole_number(value: Any, field: str, least: int, largest: int) -> int:
    """A number that somebody gave, within its bounds. Raises InvalidRequest that names the field."""
    value = given(value, field)
    if type(value) is not int or not least <= value <= largest:
        shown = value if type(value) is int and abs(value) < 2**63 else f"that ({type(value).__name__})"
        raise InvalidRequest(f"{field}: {shown} is not between {least:,} and {largest:,}")
    return value


def parse(text: str, field: str) -> Any:
    """A JSON text that somebody typed or sent. Raises InvalidRequest that names the field."""
    try:
        return unique_keys.loads(text)
    except (RecursionError, ValueError) as error:
        raise InvalidRequest(f"{field}: {json_problem(error)}") from None


def json_problem(error: Exception) -> str:
    """What is wrong with a text that could not be read as JSON, and what to do."""
    if isinstance(error, RecursionError):
        return f"is nested deeper than {DEPTH_LIMIT} levels"
    if isinstance(error, unique_keys.DoubledKey):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start}); send JSON as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {printable(str(error))}"
    # Python reads no number of thousands of digits; nothing else of JSON is refused so.
    return "holds a whole number of more than 64 bits; write longer ones as text"


def read(text: str) -> Any:
    """Stored JSON as it may be shown everywhere. Raises ValueError when no reader could take it."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deeply to be read") from None
    # Looking at each part costs more than reading it, and most texts can hold nothing to look for.
    if text.count("[") + text.count("{") > _READ_DEPTH_LIMIT or "\\u" in text or _LONG_NUMBER.search(text):
        check(value, nulls=True, depth_limit=_READ_DEPTH_LIMIT)
    return value


_LONG_NUMBER: Final = re.compile(r"[0-9]{19}|[0-9][eE]")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"holds {name}, which is not JSON")


def raw(text: str) -> str:
    """Stored text that is not JSON that can be shown: its beginning as it is, without what is encrypted."""
    shown = _SEALED.sub('"$secret":"••••"', text)
    if len(shown) > _RAW_LIMIT_CHARACTERS:
        shown = f"{shown[:_RAW_LIMIT_CHARACTERS]}… ({len(text):,} characters in all)"
    return printable(shown)


def read_or_raw(text: str) -> Any:
    """Stored JSON, or its text where that cannot be read: a damaged part never hides the rest of its record."""
    try:
        return read(text)
    except ValueError:
        return raw(text)
