"""What gives itself away in a text: passwords and keys by the word before them, addresses of people by their form."""

from __future__ import annotations

import itertools
import re
from typing import Final

from teknav_ops.payloads.codec import MASK

# Every repetition is bounded: texts may be long, and anybody's.

#: Words that a secret stands behind, at the end of whatever is joined to them: `db_password`, `X-Api-Key`.
_NAMES: Final = (
    r"(?:passwords?|passwd|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|secret[_-]?key|account[_-]?key|credentials?|authorization"
    r"|گذرواژه|رمز(?:[ \u200c]عبور)?|کلمهٔ?[ \u200c]عبور|پسورد|توکن)"
)
#: A quotation that the end of the text cuts off is one; and lists, of JSON and programs.
_QUOTED: Final = (
    r"\\\"[^\"]{0,2000}\\\"|\"(?:[^\"\\]|\\.){0,2000}\"|'(?:[^'\\]|\\.){0,2000}'"
    r"|\\?[\"'][^\"'\n]{1,2000}\Z|\[[^\[\]]{1,2000}\]|\{[^{}]{1,2000}\}"
)
_BRACKETED: Final = r"\([^()\n]{1,2000}\)|<[^<>\n]{1,2000}>"
_BRACKETS: Final = frozenset("[{(<")
#: A list of which nothing is left to mask: keys, masks, and what stands between them.
_ALL_MASKED: Final = re.compile(
    rf"(?:(?:\"[^\"]*\"|'[^']*'|\d+)(?=\s{{0,9}}:)|[\"']?{MASK}[\"']?|[\s,:(){{}}<>\[\]])*+"
)
_BARE: Final = r"[^\s,;&|<>()\[\]{}\"'\x1b]{1,2000}"
_MIXED: Final = r"(?=[^\s]{0,200}[A-Za-z])(?=[^\s]{0,200}[\d!@#$%^*+/~])"
_SCHEMES: Final = r"(?:(?:bearer|basic|token|apikey)\s{1,4})?"
_NAMED_BY: Final = rf"{_NAMES}\\?[\"']?\s{{0,4}}"
_ASSIGNED: Final = re.compile(
    rf"({_NAMED_BY}(?:=>?|:=)\s{{0,4}}{_SCHEMES})({_QUOTED}|{_BRACKETED}|{_BARE})", re.IGNORECASE
)
#: Behind a colon stands prose too: `password: must be longer`. A value ends what is said, or is no plain word. And
#: `token:ci` is who acts.
_NAMED: Final = re.compile(
    rf"({_NAMED_BY}(?:(?<!token):\s{{0,4}}|:\s{{1,4}}){_SCHEMES})({_QUOTED}|{_BARE}(?=\s{{0,4}}(?:$|[\n,;&)\]}}]))|{_MIXED}{_BARE})",
    re.IGNORECASE,
)
_SPOKEN: Final = re.compile(
    rf"({_NAMES}\s{{1,4}}(?:(?:is|was|of):?\s)?)((?=[\w.~+/-]{{0,200}}\d)(?=[\w.~+/-]{{0,200}}[a-z])[\w.~+/-]{{6,200}})",
    re.IGNORECASE,
)
_FLAGGED: Final = re.compile(rf"(--[\w-]{{0,30}}{_NAMES}\s{{1,4}})({_QUOTED}|[^\s-]\S{{0,2000}})", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b((?:bearer|basic)\s{1,4})([\w.~+/-]{8,2000}={0,2})", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}:)([^\s/]{1,500})(?=@)", re.IGNORECASE)
_IN_QUERY: Final = re.compile(r"([?&](?:key|sig|signature|auth|code|pass)=)([^\s&#\"'<>]{1,2000})", re.IGNORECASE)
_SHORT: Final = re.compile(
    rf"((?<![^\W_])(?:pass|pw)\s{{0,4}}=\s{{0,4}}|\bidentified by\s{{1,4}})({_QUOTED}|{_BARE})", re.IGNORECASE
)
_COOKIE: Final = re.compile(r"(\b(?:set-)?cookie:\s{0,4}[\w.-]{1,100}=)([^\s;,]{1,2000})", re.IGNORECASE)
_BEHIND_WORDS: Final = (_IN_URL, _ASSIGNED, _NAMED, _SPOKEN, _FLAGGED, _BEARER, _IN_QUERY, _SHORT, _COOKIE)
#: In most texts nothing of the kind stands.
_HINT: Final = re.compile(rf"{_NAMES}|://|[?&]|bearer|basic|(?:pass|pw)\s{{0,4}}=|identified by|cookie:", re.IGNORECASE)
_KNOWN: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\b(?:sk|pk|rk)[-_][\w-]{16,200}|\bgh[opsur]_\w{20,}|\bxox[abprs]-[\w-]{10,}"
    # Ours: tokens of the API, and what signs webhooks.
    r"|\btko_[\w-]{16,200}|\bwhsec_[\w+/=-]{16,200}"
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\bglpat-[\w-]{16,}|\bgithub_pat_\w{20,}|\bnpm_\w{30,}|\bhf_\w{24,}|\bgsk_\w{20,}",
    re.DOTALL,
)

_DIGIT: Final = "[0-9۰-۹٠-٩]"
_GAP: Final = r"[ \u00a0\u200c()\-\u2011]{0,2}"
_MAIL: Final = re.compile(
    r"(?:\"[^\"\n@]{1,64}\"|[^\s@<>()\[\]{}\"',;:=|\\]{1,64})(?:@[^\s@<>()\[\]{}\"',;:=|\\/]{1,255}){1,20}"
    # As a URL carries it.
    r"|[\w.+-]{1,64}%40[\w.-]{1,255}",
    re.IGNORECASE,
)
_APART: Final = r"[ \u00a0\u200c\-\u2011]?"
_MOBILE: Final = rf"[9۹٩]{_DIGIT}{{2}}{_APART}{_DIGIT}{{3}}{_APART}{_DIGIT}{{2}}{_APART}{_DIGIT}{{2}}"
_AFTER_ZERO: Final = rf"{_MOBILE}|[1-9۱-۹١-٩]{_DIGIT}{_APART}{_DIGIT}{{3,4}}{_APART}{_DIGIT}{{4}}"
_BLANKS: Final = r"[ \u00a0-]{1,8}"
#: Numbers in columns, with zeros before them: pairs, threes, or fours that all begin with 0.
_ROW: Final = (
    rf"(?:{_DIGIT}{{2}}(?:{_BLANKS}{_DIGIT}{{2}}){{3}}|{_DIGIT}{{3}}(?:{_BLANKS}{_DIGIT}{{3}}){{3}}"
    rf"|(?:[0۰٠]{_DIGIT}{{3}}{_BLANKS}){{2}}[0۰٠]{_DIGIT}{{3}})(?!{_DIGIT})"
)
#: Abroad (`+98 …`, `0098 …`), at home (`0912 …`, `021-…`), or an Iranian mobile's number alone. A row of numbers is
#: none: behind a 0 or a 98 that stands alone, digits must be grouped as in a telephone number.
_PHONE: Final = re.compile(
    rf"(?:(?<!\w)\+|(?<![\w.:/-])(?!{_ROW})[0۰٠]{{2}}(?=[1-9۱-۹١-٩]))(?:{_GAP}{_DIGIT}){{8,15}}(?![\w:])"
    rf"|(?:(?<![\w.:/-])|(?<=tel:)|(?<=sms:)|(?<=phone:))(?!{_ROW})[0۰٠]"
    rf"(?:[()\-\u2011]{{0,2}}[1-9۱-۹١-٩](?:{_GAP}{_DIGIT}){{8,9}}|[ \u00a0\u200c](?:{_AFTER_ZERO}))(?![\w:])"
    rf"|(?<![\w.:/-])(?:98|۹۸|٩٨){_APART}{_MOBILE}(?![\w:])"
)

#: At home in five pairs, as in France, with nothing of the kind before or behind.
_IN_PAIRS: Final = re.compile(
    rf"(?<![\w.:/-])(?<!(?<!{_DIGIT}){_DIGIT}{{2}}[ \u00a0-])(?<!(?<!{_DIGIT}){_DIGIT}{{2}}[ \u00a0]{{2}})"
    rf"[0۰٠][1-9۱-۹١-٩](?:[ \u00a0-]{_DIGIT}{{2}}){{4}}(?![\w:])(?!{_BLANKS}{_DIGIT})"
)
#: Columns that are counted through, `01 02 03 04 05` or `05 10 15 20 25`, have no larger steps.
_STEP_LIMIT: Final = 20


def mask_credentials(text: str) -> str:
    """The text without passwords, tokens and keys that a word before them or their own form gives away."""
    if _HINT.search(text):
        for pattern in _BEHIND_WORDS:
            text = pattern.sub(_masked, text)
    return _KNOWN.sub(MASK, text)


def mask_addresses(text: str) -> str:
    """The text without mail addresses and telephone numbers."""
    if "@" in text or "%40" in text:
        text = _MAIL.sub(MASK, text)
    return _IN_PAIRS.sub(_unless_counted, _PHONE.sub(MASK, text))


def _unless_counted(found: re.Match[str]) -> str:
    """A telephone number in pairs is masked; five numbers with equal steps are none."""
    pairs = [int(pair) for pair in re.split(r"[ \u00a0-]", found[0])]
    steps = {later - earlier for earlier, later in itertools.pairwise(pairs)}
    return found[0] if len(steps) == 1 and abs(steps.pop()) < _STEP_LIMIT else MASK


def _masked(found: re.Match[str]) -> str:
    value = found[2]
    if value[0] in _BRACKETS:
        return found[0] if _ALL_MASKED.fullmatch(value) else f"{found[1]}{value[0]}{MASK}{value[-1]}"
    quote = re.match(r"\\?[\"']", value)
    around = quote[0] if quote else ""
    return f"{found[1]}{around}{MASK}{around}"
