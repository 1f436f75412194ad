"""The passage that search shows, and what is highlighted in it."""

from __future__ import annotations

import pytest

from teknav_ops.storage.passages import find_passage
from teknav_ops.storage.persian import words


def highlighted(body: str, query: str) -> list[str]:
    asked = words(query)
    passage = find_passage(body, asked, (asked[-1],))
    return [passage.text[start:end] for start, end in passage.highlights]


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        ("داده ذخیره می‌شود.", "میشود", ["می‌شود"]),
        ("داده ذخیره می شود.", "می‌شود", ["می شود"]),
        ("مُحَمَّد و كتاب", "کتاب محمد", ["مُحَمَّد", "كتاب"]),
        ("(Redis)/Valkey, redis-server", "redis", ["Redis", "redis"]),
        ("red redis", "red", ["red", "redis"]),
        ("redis red", "red stream", ["red"]),
        ("nothing here", "redis", []),
    ],
)
def test_words_are_highlighted_in_their_own_spelling(body: str, query: str, expected: list[str]) -> None:
    assert highlighted(body, query) == expected


def test_a_short_text_is_shown_whole() -> None:
    assert find_passage("one two\n three", ["two"], ("two",)).text == "one two three"


def test_a_long_text_is_cut_between_words_around_the_match() -> None:
    passage = find_passage("word " * 100 + "needle " + "word " * 100, ["needle"], ("needle",))

    assert passage.text.startswith("… word ") and passage.text.endswith(" word …")
    assert [passage.text[start:end] for start, end in passage.highlights] == ["needle"]
    assert len(passage.text) <= 164


@pytest.mark.parametrize("body", ["x" * 500 + " needle", "needle" + "x" * 500, "x" * 500, ""])
def test_a_word_longer_than_a_passage_is_cut(body: str) -> None:
    passage = find_passage(body, ["needle"], ("needle",))

    assert len(passage.text) <= 164
    assert ("needle" in passage.text) == ("needle" in body)
