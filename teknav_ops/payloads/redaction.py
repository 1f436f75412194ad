"""Texts without secrets: what errors and servers say is kept and logged only after this."""

from __future__ import annotations

from typing import Final

from teknav_ops.payloads import plain
from teknav_ops.payloads.codec import MASK

#: How much of an error's text is kept.
ERROR_LIMIT_CHARACTERS: Final = 2_000
_LEAST_CHARACTERS: Final = 3

#: What the settings hold: set once, when a process begins.
_masked_everywhere: frozenset[str] = frozenset()


def mask_everywhere(secrets: frozenset[str]) -> None:
    """Mask these in every text of this process that is redacted, besides what its job keeps secret."""
    global _masked_everywhere
    _masked_everywhere = secrets


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """The text with every secret masked, longest first so that none survives inside another."""
    for secret in sorted(secrets | _masked_everywhere, key=len, reverse=True):
        if len(secret) >= _LEAST_CHARACTERS:
            text = text.replace(secret, MASK)
    return text


def error_text(
    error: BaseException, limit_characters: int = ERROR_LIMIT_CHARACTERS, *, secrets: frozenset[str] = frozenset()
) -> str:
    """What an error says, to be kept: secrets masked, half characters spelled out, cut. An error may refuse to say."""
    try:
        words = plain.printable(str(error))
    except BaseException as failure:
        words = f"no text could be made of this {type(error).__name__}: that raised {type(failure).__name__}"
    return redact(words, secrets)[:limit_characters]
