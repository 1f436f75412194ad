"""Data that nobody expects, as Hypothesis strategies: what people, programs and attackers may send at any entrance.

`texts` and `anything` hold what cannot be stored too; `plain_texts` and `plain_values` only what must come back equal.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from teknav_ops.topology import TOPOLOGY

# Text -----------------------------------------------------------------------------------------

#: Each has ended some program: line ends of all kinds, null, escape, half-space, marks that turn the reading direction,
#: letters that case folding lengthens, a letter outside the first plane, the end of a script, a formula, a mask.
HARD_TEXTS = (
    "", " ", "\t", "\n", "\r\n", "\0", "\x0b", "\x0c", "\x1b[2J", "\x1c", "\x1d", "\x1e", "\x7f", "\x85", "\u2028",
    "\u2029", "\u200c", "\u200f", "\u202eabc", "\u2066x", "\ufeff", "\ufffe", "İ", "ß", "é", "e\u0301", "کتاب‌ها",
    "😀", "</script><script>", "=1+1", "'", '"', "\\", "\\u0000", "%s", "{}", "••••", "null", "NaN", "a,b", "*", "|",
    "../../etc", "x" * 300,
)  # fmt: skip
HALF_CHARACTERS = ("\ud800", "\udfff", "a\ud83d", "\udcff")

plain_texts: SearchStrategy[str] = st.text(max_size=30) | st.sampled_from(HARD_TEXTS)
storable_texts: SearchStrategy[str] = plain_texts.map(lambda text: text.replace("\0", ""))
texts: SearchStrategy[str] = (
    plain_texts | st.sampled_from(HALF_CHARACTERS) | st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=10)
)

# Numbers and times ----------------------------------------------------------------------------

plain_numbers: SearchStrategy[int | float] = (
    st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, -0.0])
)
odd_numbers: SearchStrategy[Any] = st.sampled_from(
    [math.nan, math.inf, -math.inf, 1e308, 2**64, 2**70, -(2**63) - 1, True, False, decimal.Decimal("NaN"), 1j]
) | st.builds(lambda: 10**5_000)
dates: SearchStrategy[Any] = (
    st.datetimes(timezones=st.timezones() | st.none())
    | st.sampled_from(
        [dt.datetime.max, dt.datetime.min, dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14)))]
    )
    | st.sampled_from(["", "now", "2026-02-30", "0000-00-00T00:00Z", "9999-12-31T23:59:59-14:00", "2026-11-27T10:00"])
)

# JSON, as deep and as wide as it gets ---------------------------------------------------------


class LargeList(list[Any]):
    """A list that is shown by how it was made: to spell it out could take for ever."""

    recipe = "large"

    def __repr__(self) -> str:
        return self.recipe

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For Hypothesis, which shows what failed."""
        printer.text(self.recipe)


class LargeDict(dict[str, Any]):
    """An object that is shown by how it was made."""

    recipe = "large"
    __repr__ = LargeList.__repr__  # type: ignore[assignment]
    _repr_pretty_ = LargeList._repr_pretty_


def nested(depth: int, inner: Any = "x", *, as_list: bool = False) -> Any:
    """A value so many objects (or lists) deep."""
    for _ in range(depth):
        inner = [inner] if as_list else {"a": inner}
    return inner


def _large(recipe: str, value: Any) -> Any:
    shown: Any = LargeList(value) if isinstance(value, list) else LargeDict(value)
    shown.recipe = recipe
    return shown


def _cyclic(as_list: bool) -> Any:
    ring: Any = [1] if as_list else {}
    if as_list:
        ring.append([ring])
    else:
        ring["a"] = {"b": ring}
    return _large(f"cyclic(as_list={as_list})", ring)


def _laughing(depth: int) -> Any:
    """A small graph that spelled out is 2**depth values long."""
    value: Any = "ha"
    for _ in range(depth):
        value = [value, value]
    return _large(f"laughing({depth})", value)


def _deep(depth: int, as_list: bool) -> Any:
    return _large(f"nested({depth}, as_list={as_list})", nested(depth, as_list=as_list))


def _wide(length: int, as_list: bool) -> Any:
    value: Any = list(range(length)) if as_list else {str(n): n for n in range(length)}
    return _large(f"wide({length}, as_list={as_list})", value)


plain_leaves: SearchStrategy[Any] = st.none() | st.booleans() | plain_numbers | storable_texts
plain_values: SearchStrategy[Any] = st.recursive(
    plain_leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable_texts, inner, max_size=4),
    max_leaves=12,
)
plain_objects: SearchStrategy[dict[str, Any]] = st.dictionaries(storable_texts, plain_values, max_size=4)
_depths = st.sampled_from([10, 40, 61, 62, 63, 64, 65, 100, 254, 255, 256, 400, 3_000])
large_values: SearchStrategy[Any] = st.one_of(
    st.builds(_deep, _depths, st.booleans()),
    st.booleans().map(_cyclic),
    st.sampled_from([3, 10, 60]).map(_laughing),
    st.builds(_wide, st.sampled_from([10, 1_500]), st.booleans()),
)

# What JSON has no form for --------------------------------------------------------------------


class Raising:
    """An object of which no text can be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For Hypothesis, which shows what failed."""
        printer.text("Raising()")


class Broken(dict[str, Any]):
    """A mapping that fails when it is looked into."""

    def items(self) -> Any:
        raise RuntimeError("no items")


def _odd(make: Callable[[], Any]) -> SearchStrategy[Any]:
    return st.builds(make)


odd_leaves: SearchStrategy[Any] = st.one_of(
    odd_numbers, dates, texts, st.binary(max_size=5),
    st.sampled_from([{1, 2}, frozenset("a"), bytearray(b"x"), range(3), ..., NotImplemented, int, uuid.UUID(int=1)]),
    st.sampled_from([{(1, 2): 3}, {1: 2}, {None: 1}, {b"a": 1}, {"\ud800": 1}, {"\0": 1}]),
    _odd(Raising), _odd(object), _odd(lambda: (i for i in range(3))), _odd(lambda: Broken(a=1)),
)  # fmt: skip
anything: SearchStrategy[Any] = st.recursive(
    plain_leaves | odd_leaves | large_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)

# Exceptions -----------------------------------------------------------------------------------


class Mute(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Numb(Exception):
    """Its text is no text."""

    def __str__(self) -> Any:
        return 7


class Wide(Exception):
    """Its class has a long name, as generated ones have."""


Wide.__name__ = "W|" * 400


def _chained(text: str) -> Exception:
    error = ValueError(text)
    error.__cause__ = Mute()
    error.add_note(text)
    return error


exceptions: SearchStrategy[BaseException] = st.one_of(
    texts.map(ValueError), anything.map(ValueError), texts.map(KeyError), texts.map(_chained), texts.map(Wide),
    _odd(Mute), _odd(Numb), texts.map(lambda text: ExceptionGroup(text, [Mute(), ValueError(text)])),
    texts.map(SyntaxError), _odd(lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "\ud800")), _odd(RecursionError),
    texts.map(SystemExit), st.just(ValueError("x" * 100_000)),
)  # fmt: skip

# Names ----------------------------------------------------------------------------------------

queue_names: SearchStrategy[Any] = st.sampled_from(list(TOPOLOGY)) | texts | st.none() | st.just([])
job_names: SearchStrategy[Any] = st.sampled_from([job for queue in TOPOLOGY.values() for job in queue.jobs]) | texts
keys: SearchStrategy[Any] = texts | st.sampled_from(["k", " k", "k ", "a\u2028b", "x" * 201, 7, b"k", ("k",)])
search_texts: SearchStrategy[str] = texts | st.sampled_from(["%", "_", "\\", "(", "[", ".*", "x" * 5_000])
