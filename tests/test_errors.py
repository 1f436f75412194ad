"""What errors say is bounded, whatever they quote."""

from __future__ import annotations

import pytest

from teknav_ops.errors import LONGEST_MESSAGE, InvalidRequest, TransientError, UnknownQueue
from tests.support.topology import TOPOLOGY


def test_a_message_that_quotes_much_keeps_its_beginning_and_its_end() -> None:
    said = str(InvalidRequest("queue: no '" + "x" * 1_000_000 + "'; there are: a, b"))

    assert said.startswith("queue: no 'xxx") and said.endswith("xxx'; there are: a, b")
    assert " … (1,000,029 characters) … " in said
    assert len(said) <= LONGEST_MESSAGE


def test_a_message_of_the_longest_is_whole() -> None:
    assert str(TransientError("x" * LONGEST_MESSAGE, retry_after_seconds=1)) == "x" * LONGEST_MESSAGE


def test_a_queue_of_an_endless_name_is_refused_in_a_few_words() -> None:
    with pytest.raises(UnknownQueue, match="xxx") as refused:
        TOPOLOGY["x" * 1_000_000]
    assert len(str(refused.value)) <= LONGEST_MESSAGE
