"""Which queues a pattern names."""

from __future__ import annotations

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.queue_patterns import ALL_QUEUES, checked_patterns, covers

QUEUES = ("otp:send", "webhooks:deliver", "webhooks:check", "ai:content")


@pytest.mark.parametrize(
    ("patterns", "named"),
    [
        (("webhooks:*",), {"webhooks:deliver", "webhooks:check"}),
        (("otp:send", "*:content"), {"otp:send", "ai:content"}),
        (("webhooks",), set()),
        (("Webhooks:*",), set()),
        (("*",), set(QUEUES)),
        ((), set()),
    ],
)
def test_a_star_stands_for_any_characters_and_all_else_for_itself(patterns: tuple[str, ...], named: set[str]) -> None:
    assert {queue for queue in QUEUES if covers(patterns, queue)} == named


def test_patterns_are_kept_sorted_and_those_for_all_as_one() -> None:
    assert checked_patterns(["webhooks:*", "otp:send", "otp:send"], QUEUES) == ("otp:send", "webhooks:*")
    assert checked_patterns(None, QUEUES) == checked_patterns(["otp:send", "**"], QUEUES) == ALL_QUEUES


@pytest.mark.parametrize(
    ("patterns", "problem"),
    [
        ([], "name 1 to 50"),
        (["webhook:*"], "'webhook:\\*' names no queue; there are otp:send"),
        (["otp:send", ""], "'' is no queue and no pattern"),
        (["[o]tp:send"], "is no queue and no pattern"),
        (["otp:sen?"], "is no queue and no pattern"),
        (["otp:send otp:*"], "is no queue and no pattern"),
        (["x" * 101], "is no queue and no pattern"),
    ],
)
def test_what_names_nothing_is_refused(patterns: list[str], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"queues: .*{problem}"):
        checked_patterns(patterns, QUEUES)
