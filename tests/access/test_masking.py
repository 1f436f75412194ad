"""What is told of a payload to who may not read it: its form."""

from __future__ import annotations

from typing import Any

import pytest

from teknav_ops.access.masking import masked


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, "‹true or false›"),
        (0, "‹number›"),
        (1.5, "‹number›"),
        ("", ""),
        ("x" * 1_200, "‹text of 1,200 characters›"),
        ({"a": [1, ("b",)]}, {"a": ["‹number›", ["‹text of 1 characters›"]]}),
    ],
)
def test_each_value_is_told_by_its_kind(value: Any, told: Any) -> None:
    assert masked(value) == told
