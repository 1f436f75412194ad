"""Outputs of cells as they may leave: secrets and people's addresses masked in every kind that is text."""

from __future__ import annotations

import functools
import re
from html import escape, unescape
from typing import Any, Final

from teknav_ops.payloads.codec import MASK
from teknav_ops.payloads.redaction import leaving, redact
from teknav_ops.reports.columns import is_secret_name, mask_html_tables, mask_text_tables
from teknav_ops.reports.frames import mask_columns, mask_text_data

#: Kinds that are files in base64, but for pictures that are written as text.
_FILES: Final = re.compile(r"(?:image|audio|video|font)/(?!.*\+xml)|application/(?:pdf|zip|octet-stream)")
_MARKUP: Final = re.compile(r".*[/+](?:html|xml)")
_FILE_IN_TEXT: Final = re.compile(r"data:(?:image|audio|video|font)/(?![^;,]*\+xml)[^;,]{1,100};base64,")
#: Plotly's arrays of numbers, in base64.
_NUMBERS: Final = "bdata"
#: A script this long may hold plotly.js, as figures' own HTML does.
_LONG_SCRIPT_CHARACTERS: Final = 1_000_000
#: Coordinates, which would pass for telephone numbers.
_DRAWN: Final = frozenset({"d", "path", "points", "stroke-dasharray", "transform", "values", "viewbox"})
_IN_SENTENCE: Final = (
    r"</?(?:a|abbr|bdi|bdo|b|cite|code|del|em|font|ins|i|kbd|mark|q|samp|small|span|strong|sub|sup|s|tspan|tt|u|var|wbr)"
    r"(?=[\s/>])[^>]*>"
)
_TAG_IN_SENTENCE: Final = re.compile(f"({_IN_SENTENCE})", re.IGNORECASE)
_COLOUR: Final = re.compile("(\x1b\\[[0-9;?]{0,40}[A-Za-z])")
_EMPHASIS: Final = re.compile(
    rf"(`+|~~|\*{{1,3}}(?=\S)|(?<=\S)\*{{1,3}}|(?<!\w)_{{1,3}}(?=\S)|(?<=\S)_{{1,3}}(?!\w)|{_IN_SENTENCE})",
    re.IGNORECASE,
)
#: Scripts and styles, comments, and tags that end a sentence; between them is text. What has no end goes to the last
#: character, as in a browser.
_BETWEEN: Final = re.compile(
    rf"<(script|style)\b.*?(?:</\1\s*>|\Z)|(<!--.*?(?:-->|\Z))|(?!{_IN_SENTENCE})<[a-z/!][^>]*(>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE: Final = re.compile(r"""([\w:.-]{1,100})(\s{0,9}=\s{0,9})("[^"]*"?|'[^']*'?|[^\s"'>]+)""")
#: A program's texts, with the name before them.
_TEXT_IN_CODE: Final = re.compile(
    r"""(?:([\w$-]{1,40})(["']?\s{0,9}[:=]\s{0,9}))?("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\.)*`?)"""
)
#: A character in a program's text, as JSON and JavaScript spell it.
_SPELLED: Final = re.compile(r"\\(?:\\|u([0-9a-f]{4})|x([0-9a-f]{2}))", re.IGNORECASE)


def mask_outputs(notebook: Any) -> None:
    """Mask, in place, all that the notebook's cells showed, printed and raised, and what its widgets hold."""
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    # The kernel sends what is printed in pieces, as time passes: what must be masked may come in two.
    CoalesceStreamsPreprocessor(enabled=True)(notebook, {})  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            mask_output(output)
    if "widgets" in notebook.metadata:
        notebook.metadata["widgets"] = _masked_json(notebook.metadata["widgets"])


def mask_output(output: Any) -> None:
    """Mask one output in place."""
    if output.output_type == "stream":
        output.text = _masked_print(output.text, _COLOUR)
    elif output.output_type == "error":
        output.ename, output.evalue = leaving(output.ename), leaving(output.evalue)
        output.traceback = [_masked_across(line, _COLOUR) for line in output.traceback]
    for kind, value in output.get("data", {}).items():
        output.data[kind] = masked_value(kind, value)
    if "metadata" in output:
        output.metadata = _masked_json(output.metadata)


def masked_value(kind: str, value: Any) -> Any:
    """What an output of this MIME type holds, masked where it is text; files stay as they are."""
    if not isinstance(value, str):
        return _masked_json(value)
    if _FILES.match(kind):
        return value
    if _MARKUP.fullmatch(kind):
        return _masked_markup(value)
    if kind.endswith("/javascript"):
        return _masked_code(value)
    return _masked_print(value, _EMPHASIS if kind == "text/markdown" else _COLOUR)


def _masked_print(text: str, signs: re.Pattern[str]) -> str:
    return _masked_across(mask_text_tables(mask_text_data(text, _masked_json)), signs)


def _masked_across(text: str, signs: re.Pattern[str]) -> str:
    """Text with such signs in it as a reader does not see: they go where what must be masked reaches over them."""
    parts = signs.split(text)
    masked = leaving("".join(parts[::2]))
    if len(parts) == 1:
        return masked
    parts[::2] = map(leaving, parts[::2])
    return "".join(parts) if "".join(parts[::2]) == masked else masked


def _masked_json(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return _masked_named(name, value, _masked_words)
    if isinstance(value, list | tuple):
        return type(value)(_masked_json(each, name) for each in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and is_secret_name(name):
        return MASK
    if isinstance(value, dict):
        masked: dict[str, Any] = {}
        value = mask_columns(value)
        for each in value:
            place = leaving(each) if isinstance(each, str) else each
            while place in masked:
                place = f"{place}{MASK}"
            # A column is the values below its name.
            masked[place] = _masked_json(value[each], name if is_secret_name(name) else str(each))
        return masked
    return value


def _masked_words(text: str) -> str:
    return _masked_markup(text) if "<" in text or "&" in text else leaving(text)


def _masked_named(name: str, text: str, mask: Any) -> str:
    """A text that has a name: all of it, where that is a secret's."""
    if name == _NUMBERS or _FILE_IN_TEXT.match(text):
        return text
    if text and is_secret_name(name):
        return MASK
    return redact(text) if name.lower() in _DRAWN else str(mask(text))


def _masked_markup(markup: str) -> str:
    """Text masked as a person reads it; in tags, what attributes say; in scripts, their texts, and no code."""
    parts, end, markup = [], 0, mask_html_tables(markup)
    for found in _BETWEEN.finditer(markup):
        mask = _masked_code if found[1] else leaving if found[2] else _masked_tag if found[3] else _masked_text
        parts += [_masked_sentence(markup[end : found.start()]), mask(found[0])]
        end = found.end()
    return "".join((*parts, _masked_sentence(markup[end:])))


def _masked_sentence(sentence: str) -> str:
    """Text with such tags as stand within a sentence; they go where what must be masked reaches over them."""
    parts = _TAG_IN_SENTENCE.split(sentence)
    read = "".join(map(unescape, parts[::2]))
    masked = leaving(read)
    if masked != read:
        parts[::2] = map(_masked_text, parts[::2])
        if masked != "".join(map(unescape, parts[::2])):
            return escape(masked)
    parts[1::2] = map(_masked_tag, parts[1::2])
    return "".join(parts)


def _masked_text(text: str) -> str:
    read = unescape(text)
    masked = leaving(read)
    if masked == read:
        return text
    return masked if read == text else escape(masked)


def _masked_tag(tag: str) -> str:
    masked = _ATTRIBUTE.sub(_masked_attribute, tag)
    # `<reader@example.org>` is no tag.
    return masked if _may_leave(_ATTRIBUTE.sub("", tag)) else leaving(masked)


@functools.lru_cache(maxsize=1_000)
def _may_leave(text: str) -> bool:
    return leaving(text) == text


def _masked_attribute(found: re.Match[str]) -> str:
    name, equals, value = found.groups()
    return name + equals + _inside(value, lambda text: _masked_named(name, text, _masked_text))


def _masked_code(code: str) -> str:
    if len(code) < _LONG_SCRIPT_CHARACTERS:
        return _TEXT_IN_CODE.sub(_masked_text_in_code, code)
    from plotly.offline import get_plotlyjs

    # It says nothing of anybody, and has rows of digits.
    library: str = get_plotlyjs()
    return library.join(_TEXT_IN_CODE.sub(_masked_text_in_code, part) for part in code.split(library))


def _masked_text_in_code(found: re.Match[str]) -> str:
    name, between, value = found[1] or "", found[2] or "", found[3]
    return name + between + _inside(value, lambda text: _masked_named(name, text, _masked_literal))


def _masked_literal(text: str) -> str:
    read = _SPELLED.sub(_spelled_out, text)
    masked = _masked_words(read)
    # No tag may come to stand in a script.
    return text if masked == read else masked.replace("<", "\\u003c")


def _spelled_out(found: re.Match[str]) -> str:
    """The character, but for those that would end the text or begin another escape."""
    character = chr(int(found[1] or found[2] or "0", 16))
    return character if character.isalnum() or character in "@+%&/:;=?<>. -\u00a0\u200c" else found[0]


def _inside(value: str, mask: Any) -> str:
    """The value, masked between its quotes, if it has any."""
    if value[0] not in "\"'`":
        return str(mask(value))
    closing = value[0] if len(value) > 1 and value.endswith(value[0]) else ""
    return f"{value[0]}{mask(value[1 : len(value) - len(closing)])}{closing}"
