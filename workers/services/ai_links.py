"""What a Markdown text leads to, however it is spelled, and whether it holds markup.

Programs that show Markdown differ; where one of them would show a link or a tag, there is one.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from teknav_ops.web_addresses import ascii_host

_FENCE: Final = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})")
_CODE_SPAN: Final = re.compile(r"(?<![\\`])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
#: Tabs and line ends by their entities: Markdown keeps them inside a destination, and browsers drop them there.
_DROPPED: Final = re.compile(r"&(?:tab|newline|#0*(?:9|10|13)|#x0*[9ad]);?", re.I)
_TAG: Final = re.compile(r"<(?=[A-Za-z/!?])")
#: Of names without a scheme that some programs make links of; `Node.js/Deno` is none.
_ENDINGS: Final = "com|net|org|io|ir|me|info|biz|co|app|dev|xyz|ru|cn|top|site|online|shop|club|link|ly|gg|tv|example"
_STOP: Final = r"[^\s<>()\[\]{}\"'«»|`]"
_TARGET: Final = re.compile(
    r"\]\(\s*<?([^)>\s]+)"
    # A definition counts for the whole text, also where it stands in a quote or in a list.
    r"|^[ \t]*(?:(?:>|[-*+]|\d+[.)])[ \t]*)*\[(?!\^)[^\]]+\]:\s*<?([^>\s]+)",
    re.M,
)
_ADDRESS: Final = re.compile(
    rf"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*:(?://|\\\\){_STOP}+"
    rf"|(?<![a-z0-9])(?:mailto|data|javascript|vbscript|file|blob|ftp|tel|sms|intent|about|view-source):{_STOP}+"
    rf"|(?<![\w./@-])www\.{_STOP}+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    rf"|(?<![\w@./:-])(?:[a-z0-9-]+\.)+(?:{_ENDINGS})/{_STOP}*",
    re.I,
)
_TAIL: Final = ".,;:!?؟،؛*_~"
#: May stand as they are wherever the material has them; anything else that is no web address never may.
_KEPT_SCHEMES: Final = ("http", "https", "mailto")


def without_code(text: str) -> tuple[str, list[str]]:
    """The text without its code, and the code of its fenced blocks.

    Fences count at the margin only, and code in a line only where all backticks of its paragraph are paired line by
    line: elsewhere programs that show Markdown differ in what is code, and what one of them would show is looked at.
    """
    prose: list[str] = []
    blocks: list[str] = []
    lines = re.split(r"\r\n|\n|\r", text)
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        end = _closing(lines, at, fence[1]) if fence else None
        if end is None:
            prose.append(lines[at])
            at += 1
            continue
        blocks.append("\n".join(lines[at + 1 : end]))
        prose += ["", ""]
        at = end + 1
    return "\n\n".join(map(_without_spans, re.split(r"\n[ \t]*\n", "\n".join(prose)))), blocks


def _closing(lines: list[str], opening: int, fence: str) -> int | None:
    closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*")
    return next((at for at in range(opening + 1, len(lines)) if closing.fullmatch(lines[at])), None)


def _without_spans(paragraph: str) -> str:
    without = _CODE_SPAN.sub(" ", paragraph)
    return paragraph if "`" in without else without


def as_read(text: str) -> str:
    """The text as browsers and writers of Markdown read it: entities, escapes, compatible and unseen characters."""
    plain = _ESCAPE.sub(r"\1", html.unescape(_DROPPED.sub("", text)))
    plain = unicodedata.normalize("NFKC", plain)
    return "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")


def links(text: str) -> set[str]:
    """The web addresses that a text spells out, as they are written."""
    return {found for found in _addresses(as_read(text)) if found.lower().startswith(("http://", "https://"))}


def targets(text: str) -> set[str]:
    """Everything a text leads to, in any spelling: addresses, destinations of links, mail addresses."""
    read = as_read(text)
    ends = {first or second for first, second in _TARGET.findall(read)}
    return {*_addresses(read), *(end for end in ends if not _is_on_this_site(end))}


def _addresses(read: str) -> Iterator[str]:
    return (found.rstrip(_TAIL) for found in _ADDRESS.findall(read))


def _is_on_this_site(target: str) -> bool:
    """A path or a place of the page itself. Browsers read a backslash as a slash, so `/\\host` leads away."""
    return target.startswith(("/", "#", "?")) and not target.startswith(("//", "/\\"))


def has_markup(prose: str) -> bool:
    """Whether a text without code holds HTML, in any spelling; `<https://…>` is none."""
    read = re.sub(r"<(?:https?://|mailto:)[^\s<>]*>", " ", as_read(prose))
    return _TAG.search(read) is not None


def leads_to(target: str, hosts: Iterable[str]) -> bool:
    """Whether a target is a web address of one of the hosts, or of a name below one."""
    address = f"https://{target}" if "://" not in target else target
    try:
        parts = urlsplit(address)
        host = ascii_host(parts.hostname or "").lower()
        is_plain = parts.scheme.lower() in ("http", "https") and "@" not in parts.netloc and "\\" not in address
    except ValueError:
        return False
    return is_plain and any(host == one or host.endswith(f".{one}") for one in hosts)


def may_be_kept(target: str) -> bool:
    """Whether a target may be kept because the material has it: `data:` and the like may not."""
    scheme, separator, _ = target.lower().partition(":")
    return not separator or scheme in _KEPT_SCHEMES or "." in scheme
