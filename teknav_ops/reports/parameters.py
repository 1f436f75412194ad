"""Parameters of a report: typed, and refused when they are unknown, of another type, or hold a password."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain

#: Set by the runner: nobody watches.
INTERACTIVE: Final = "interactive"
_PROFILE: Final = "profile"
_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WITH_PASSWORD: Final = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_NO_VALUE: Final = ("none", "null")
_YES: Final = ("true", "yes", "1")
_NO: Final = ("false", "no", "0")


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a notebook; `type` is a key of TYPES."""

    name: str
    type: str
    default: Any
    is_optional: bool = False

    @property
    def words(self) -> str:
        """As it stands in the notebook: `hours: int = 24`."""
        return f"{self.name}: {self.type}{' | None' if self.is_optional else ''} = {self.default!r}"


def check_parameters(report: str, known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values with their types, and `interactive` off where the notebook has it. Texts are converted.

    Raises:
        InvalidRequest: a parameter is unknown, or its value of another type; the message names it and the fix.
    """
    values = {}
    for name, value in given.items():
        if name not in known:
            raise InvalidRequest(_unknown(report, name, known))
        values[name] = _checked(known[name], value)
    if values.get(INTERACTIVE):
        raise InvalidRequest("param interactive: a report runs unattended, so it is off")
    return values | ({INTERACTIVE: False} if INTERACTIVE in known else {})


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`["hours=24"]` as a mapping. Raises InvalidRequest."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            # The value is not repeated: it may be a secret given in the wrong place.
            raise InvalidRequest("param: give it as name=value, such as --param hours=24")
        if name.strip() in values:
            raise InvalidRequest(f"param {name.strip()}: given twice")
        values[name.strip()] = value
    return values


def _unknown(report: str, name: str, known: Mapping[str, Parameter]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    listed = "; ".join(parameter.words for parameter in known.values()) or "none"
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"param {name}: {report} has no such parameter.{hint} It takes: {listed}"


def _checked(parameter: Parameter, value: Any) -> Any:
    if value is None or (parameter.is_optional and isinstance(value, str) and value.lower() in _NO_VALUE):
        if not parameter.is_optional:
            raise InvalidRequest(f"param {parameter.name}: must be set ({parameter.words})")
        return None
    try:
        plain.check(value)
    except plain.NotPlain as error:
        raise InvalidRequest(f"param {parameter.name}: {error}") from None
    if isinstance(value, str):
        _require_no_secret(parameter, value)
    try:
        return TYPES[parameter.type](value)
    except ValueError as error:
        raise InvalidRequest(f"param {parameter.name}: {error} ({parameter.words})") from None


def _require_no_secret(parameter: Parameter, value: str) -> None:
    """Parameters are kept in the output. The value is not repeated here either."""
    if parameter.name == _PROFILE and value and not _PROFILE_NAME.fullmatch(value):
        raise InvalidRequest("param profile: must be a name such as staging, not an address")
    if _WITH_PASSWORD.search(value):
        raise InvalidRequest(
            f"param {parameter.name}: holds a password, and parameters are kept in the report; name a profile instead"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _int(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{_shown(value)} is not a whole number")


def _float(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{_shown(value)} is not a number")
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _YES + _NO:
        return value.lower() in _YES
    raise ValueError(f"{_shown(value)} is not true or false")


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{_shown(value)} is not a text")


#: What a parameter may be declared as, and how a value becomes that.
TYPES: Final[dict[str, Callable[[Any], Any]]] = {"int": _int, "float": _float, "bool": _bool, "str": _str}
