"""What a VIEWER sees in place of what is inside payloads, results and error texts: its shape, not its values."""

from __future__ import annotations

from typing import Any


def masked(value: Any) -> Any:
    """A JSON value with each text, number and truth value replaced by the name of its type."""
    if isinstance(value, dict):
        return {name: masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    if value is None:
        return None
    if isinstance(value, bool):
        return "‹true or false›"
    return "‹number›" if isinstance(value, int | float) else masked_text(str(value))


def masked_text(text: str) -> str:
    """A text of which only the length is told: errors and notes may quote a payload."""
    return f"‹text of {len(text):,} characters›" if text else ""
