"""A payload as a producer may give it: as a mapping, as fields, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teknav_ops.errors import InvalidPayload
from teknav_ops.payloads import plain


def merged(data: Mapping[str, Any] | None, fields: dict[str, Any]) -> Mapping[str, Any]:
    """The whole payload.

    Raises:
        InvalidPayload: the mapping cannot be read, or a field stands in both.
    """
    if data is None or not fields:
        return fields if data is None else data
    try:
        mapping = plain.fields_of(data)
    except plain.NotPlain as error:
        raise InvalidPayload(f"payload: {error.problem}", [("payload", error.problem)]) from None
    if twice := [name for name in fields if name in mapping]:
        problem = "given twice, in the mapping and by name"
        raise InvalidPayload(f"{', '.join(twice)}: {problem}", [(name, problem) for name in twice])
    return {**mapping, **fields}
