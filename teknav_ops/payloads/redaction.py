"""Texts without secrets: what errors and servers say is kept and logged only after this, and leaves only after that.

`redact` takes away secrets: for all that is kept, logged or recorded. `leaving` takes away people's addresses too: for
reports, alerts, their mails and webhooks, and snapshots, which others than this system's operators may hold.
"""

from __future__ import annotations

from typing import Final

from teknav_ops.payloads import plain
from teknav_ops.payloads.codec import MASK
from teknav_ops.payloads.patterns import mask_addresses, mask_credentials
from teknav_ops.payloads.spellings import longest_spelling, mask_known

#: How much of an error's text is kept.
ERROR_LIMIT_CHARACTERS: Final = 2_000
_LEAST_CHARACTERS: Final = 3
#: No secret that gives itself away is longer, with what stands before it.
_REACH_CHARACTERS: Final = 8_000

#: What the settings hold: set once, when a process begins.
_masked_everywhere: frozenset[str] = frozenset()


def mask_everywhere(secrets: frozenset[str]) -> None:
    """Mask these in every text of this process that is redacted, besides what its job keeps secret."""
    global _masked_everywhere
    _masked_everywhere = secrets


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """The text with every secret masked: those that are known, in every spelling, longest first so that none survives
    inside another, and what gives itself away as one. NUL, which PostgreSQL keeps in no text, becomes U+FFFD.
    """
    for secret in sorted(secrets | _masked_everywhere, key=len, reverse=True):
        if len(secret) >= _LEAST_CHARACTERS:
            text = mask_known(text, secret, MASK)
    return mask_credentials(text.replace("\0", "\ufffd"))


def redact_beginning(text: str, limit_characters: int, secrets: frozenset[str] = frozenset()) -> str:
    """At most so much of the beginning of the redacted text. Only that, and what may reach into it, is looked through:
    what an error quotes may be megabytes, and each takes a second.
    """
    kept, reach = _looked_through(limit_characters, secrets)
    masked = redact(text[:kept], secrets)
    # Of a secret that was cut in two, the first part may stand unmasked at the end.
    return (masked if len(text) <= kept else masked[:-reach])[:limit_characters]


def redact_end(text: str, limit_characters: int, secrets: frozenset[str] = frozenset()) -> str:
    """At most so much of the end of the redacted text; as `redact_beginning`."""
    kept, reach = _looked_through(limit_characters, secrets)
    masked = redact(text[-kept:], secrets)
    return (masked if len(text) <= kept else masked[reach:])[-limit_characters:]


def redact_long(text: str, limit_characters: int, secrets: frozenset[str] = frozenset()) -> str:
    """The redacted text; of a longer one the beginning and the end, and how much was left out between them."""
    if len(text) <= limit_characters:
        return redact(text, secrets)
    half = limit_characters // 2
    words = f" … {len(text) - limit_characters:,} characters left out … "
    return redact_beginning(text, half, secrets) + words + redact_end(text, half, secrets)


def _looked_through(limit_characters: int, secrets: frozenset[str]) -> tuple[int, int]:
    """How many characters are looked through to keep so many, since masks are shorter than secrets; and how far a
    secret, or what gives it away, may reach.
    """
    reach = max(_REACH_CHARACTERS, *map(longest_spelling, secrets | _masked_everywhere), 0)
    return 2 * limit_characters + reach, reach


def leaving(text: str) -> str:
    """A text that leaves the system: secrets and addresses masked."""
    return mask_addresses(redact(text))


def error_text(
    error: BaseException, limit_characters: int = ERROR_LIMIT_CHARACTERS, *, secrets: frozenset[str] = frozenset()
) -> str:
    """What an error says, to be kept: secrets masked, half characters spelled out, cut. An error may refuse to say."""
    try:
        words = plain.printable(str(error))
    except BaseException as failure:
        words = f"no text could be made of this {type(error).__name__}: that raised {type(failure).__name__}"
    return redact_beginning(words, limit_characters, secrets)
