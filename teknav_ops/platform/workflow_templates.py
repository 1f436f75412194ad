"""Templates: strings with `{{ expressions }}` in JMESPath, filled from a run's input and outputs.

JMESPath only reads JSON: an expression cannot call code, reach attributes or loop for ever. A string
that is one expression keeps the value's JSON type; inside other text the value is written out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from teknav_ops.errors import PermanentError

EXPRESSION_LIMIT_CHARACTERS: Final = 1_000
_MARKED: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
#: An expression that ends so says itself that there may be nothing.
_NULL_IS_MEANT: Final = "`null`"

Path = tuple[str, ...]


class TemplateError(PermanentError):
    """An expression of a workflow gave nothing, or could not be applied to the run's values."""


class BadExpression(ValueError):
    """The text is not a JMESPath expression that this version can run."""


def is_template(value: Any) -> bool:
    """Whether the value, or anything inside it, holds an expression."""
    return any(True for _ in _texts(value))


def literal_text(text: str) -> str:
    """The text with a letter in place of each expression: what stands in it whatever the run brings."""
    return "x" if _whole_expression(text) is not None else _MARKED.sub("x", text)


def expressions(value: Any) -> Iterator[str]:
    """Every expression in the value, lists and objects included."""
    for text in _texts(value):
        whole = _whole_expression(text)
        yield from [whole] if whole is not None else (match[1].strip() for match in _MARKED.finditer(text))


def paths_read(expression: str) -> set[Path]:
    """The paths, from the root, that an expression reads.

    Raises:
        BadExpression: the message says where the expression is wrong.
    """
    found: set[Path] = set()
    _walk(_compiled(expression).parsed, (), found)
    return found


def evaluate(expression: str, names: Mapping[str, Any], *, where: str) -> Any:
    """The expression's value; None where there is nothing. Raises TemplateError."""
    try:
        return _compiled(expression).search(dict(names))
    except (JMESPathError, BadExpression, TypeError, ValueError) as error:
        raise TemplateError(f"{where}: {{{{ {expression} }}}}: {_one_line(error)}") from None


def fill(value: Any, names: Mapping[str, Any], *, where: str) -> Any:
    """The value with every expression in it replaced.

    Raises:
        TemplateError: an expression gave nothing, and does not end in `` || `null` `` to say that this is meant.
    """
    if isinstance(value, str):
        return _fill_text(value, names, where)
    if isinstance(value, dict):
        return {name: fill(item, names, where=f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names, where=f"{where}[{index}]") for index, item in enumerate(value)]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if _MARKED.search(value):
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _fill_text(text: str, names: Mapping[str, Any], where: str) -> Any:
    whole = _whole_expression(text)
    if whole is not None:
        return _required(whole, names, where)
    return _MARKED.sub(lambda match: _written(_required(match[1].strip(), names, where)), text)


def _whole_expression(text: str) -> str | None:
    """The expression that is all of the text. `{{ {a: {b: c}} }}` is one; `{{ a }} {{ b }}` are two."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")) or len(stripped) < 5:
        return None
    inner = stripped[2:-2].strip()
    if len(_MARKED.findall(stripped)) == 1 and "}}" not in inner:
        return inner
    try:
        _compiled(inner)
    except BadExpression:
        return None
    return inner


def _required(expression: str, names: Mapping[str, Any], where: str) -> Any:
    value = evaluate(expression, names, where=where)
    if value is None and not expression.endswith(_NULL_IS_MEANT):
        raise TemplateError(
            f"{where}: {{{{ {expression} }}}} gave nothing; write a default after ||, such as || 'none' or || `null`"
        )
    return value


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _compiled(expression: str) -> Any:
    if not expression:
        raise BadExpression("an expression is empty")
    if len(expression) > EXPRESSION_LIMIT_CHARACTERS:
        raise BadExpression(f"an expression is over the limit of {EXPRESSION_LIMIT_CHARACTERS:,} characters")
    try:
        return jmespath.compile(expression)
    except (JMESPathError, ValueError, TypeError) as error:
        raise BadExpression(f"{expression!r} is not JMESPath: {_one_line(error)}") from None
    except RecursionError:
        raise BadExpression("an expression is nested too deep") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _walk(node: Mapping[str, Any], base: Path | None, found: set[Path]) -> Path | None:
    """Note what a node reads; answers the path of its value, or None where that is no plain path."""
    kind, children = node["type"], node["children"]
    if kind == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
        known = ", ".join(sorted(Functions.FUNCTION_TABLE))
        raise BadExpression(f"there is no function {node['value']}(); there are {known}")
    if kind == "field":
        if base is None:
            return None
        found.add((*base, node["value"]))
        return (*base, node["value"])
    if kind in ("subexpression", "pipe"):
        for child in children:
            base = _walk(child, base, found)
        return base
    if kind in ("current", "identity"):
        return base
    is_projected = kind in ("projection", "filter_projection", "value_projection", "flatten", "index_expression")
    for index, child in enumerate(children):
        inside = None if kind == "expref" or (is_projected and index > 0) else base
        _walk(child, inside, found)
    return None
