"""Texts that a model wrote: what kind each field of an answer is, and the one check that all of them pass.

A `str` in an `Output` is a line without links or markup unless it says otherwise: `Body` is Markdown, which may lead to
our own hosts and to what the material leads to; `Note` is for editors, in either language; `Quote` is copied from the
article, and compared with it by its processor.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel

from teknav_ops.one_line import is_one_line
from workers.services.ai_language import Language, language_problem, list_problem
from workers.services.ai_links import has_markup, leads_to, links, may_be_kept, targets, without_code

__all__ = [
    "Body",
    "Note",
    "Quote",
    "TextRules",
    "code_problems",
    "in_house_spelling",
    "links",
    "targets",
    "text_problems",
]

_LETTERS: Final = str.maketrans("يىك", "ییک")
_CODE: Final = re.compile(r"^(```|~~~).*?^\1[^\n]*$|`[^`\n]+`", re.M | re.S)
_PROBLEMS_SHOWN: Final = 8
#: Turn the direction of what follows, whatever its letters; the marks (U+200E, U+200F) do not.
_OVERRIDES: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNWANTED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    is_line: bool = True
    may_link: bool = False
    is_for_editors: bool = False
    is_copied: bool = False
    has_language: bool = True


Body = Annotated[str, _Kind(is_line=False, may_link=True)]
Note = Annotated[str, _Kind(is_line=False, is_for_editors=True)]
Quote = Annotated[str, _Kind(is_line=False, is_copied=True)]


@dataclasses.dataclass(frozen=True, slots=True)
class TextRules:
    """What the texts of one answer are held to: their language, where they may lead, and which links must be kept."""

    language: Language
    hosts: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()


def text_problems(output: BaseModel, rules: TextRules) -> list[str]:
    """What is wrong with the texts of an answer, by field. Texts of a list are judged by themselves and together."""
    problems: list[str] = []
    for name, text, kind in _texts(output):
        if isinstance(text, tuple):
            wrong = list_problem(text, rules.language)
            problems += [f"{name}: {wrong}"] if wrong else []
        else:
            problems += [f"{name}: {problem}" for problem in _problems(text, kind, rules)]
    return problems[:_PROBLEMS_SHOWN]


def _texts(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str | tuple[str, ...], _Kind]]:
    for name, field in type(model).model_fields.items():
        kind = _kind_of([*field.metadata, *_inside(field.annotation)])
        value = getattr(model, name)
        if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
            is_judged_together = kind == _Kind()
            alone = dataclasses.replace(kind, has_language=not is_judged_together)
            yield from ((f"{prefix}{name}.{index}", item, alone) for index, item in enumerate(value))
            if is_judged_together:
                yield f"{prefix}{name}", tuple(value), kind
        elif isinstance(value, BaseModel):
            yield from _texts(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value, kind


def _inside(annotation: Any) -> Iterator[Any]:
    """What is said of the items of a list."""
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            yield from part.__metadata__
            yield from _inside(get_args(part)[0])
        elif not isinstance(part, type):
            yield from _inside(part)


def _kind_of(metadata: list[Any]) -> _Kind:
    return next((item for item in metadata if isinstance(item, _Kind)), _Kind())


def _problems(text: str, kind: _Kind, rules: TextRules) -> Iterator[str]:
    if _UNWANTED.search(text) or _OVERRIDES.search(text):
        yield "must not hold control characters or marks that turn the direction of text"
    if kind.is_copied:
        return
    if kind.is_line and not is_one_line(text):
        yield "must be one line"
    prose, _ = without_code(text)
    if kind.has_language:
        wanted: tuple[Language, ...] = ("fa", "en") if kind.is_for_editors else (rules.language,)
        wrong = language_problem(_without_targets(prose), wanted)
        yield from [wrong] if wrong else []
    if has_markup(text if kind.is_line else prose):
        yield "must be plain text without HTML" if kind.is_line else "must be Markdown without HTML"
    yield from _link_problems(text, prose, kind, rules)


def _link_problems(text: str, prose: str, kind: _Kind, rules: TextRules) -> Iterator[str]:
    # In code, only web addresses lead anywhere.
    found = targets(prose) | links(text)
    for target in sorted(found):
        is_kept = target in rules.allowed and may_be_kept(target)
        if not kind.may_link:
            yield f"{target} is a link, and none may stand here; remove it"
        elif not is_kept and not leads_to(target, rules.hosts):
            yield f"{target} is not in the material; remove it"
    if kind.may_link:
        yield from (f"the link {link} is missing" for link in sorted(rules.required - found))


def _without_targets(prose: str) -> str:
    for target in targets(prose):
        prose = prose.replace(target, " ")
    return prose


def code_problems(name: str, text: str, original: str) -> list[str]:
    """Whether every code block of the original is still there, unchanged."""
    kept = [block.strip() for block in without_code(text)[1]]
    lost = sum(block.strip() not in kept for block in without_code(original)[1])
    return [f"{name}: {lost} of the code blocks are missing or changed"] if lost else []


def in_house_spelling(text: str, language: str) -> str:
    """The text as it is stored: Persian letters in Persian texts, code left alone."""
    if language != "fa":
        return text
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [persian_letters(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, persian_letters(text[end:])])


def persian_letters(text: str) -> str:
    """Arabic yeh and kaf as Persian readers expect them; nothing else is touched, the non-joiner least of all."""
    return text.translate(_LETTERS)
