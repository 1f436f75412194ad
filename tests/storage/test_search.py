"""What readers find, on both databases."""

from __future__ import annotations

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.storage.database import Database
from teknav_ops.storage.persian import normalise
from teknav_ops.storage.search import delete_documents, put_document, search


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("كتاب", "کتاب"),
        ("علي", "علی"),
        ("می‌شود", "میشود"),
        ("می شود", "می‌شود"),
        ("نمی‌روم", "نمیروم"),
        ("کتاب‌ها", "کتابها"),
        ("مُحَمَّد", "محمد"),
        ("سـلام", "سلام"),
        ("۱۴۰۵", "1405"),
        ("١٤٠٥", "1405"),
        ("آسمان", "اسمان"),
        ("خانۀ", "خانه"),
        ("مسئول", "مسيول"),
        ("Café", "cafe"),
        ("ﻻ", "لا"),
    ],
)
def test_spellings_of_one_word_are_one(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_different_words_stay_different() -> None:
    assert normalise("شیر") != normalise("شور")
    assert normalise("می") == "می"


def put(database: Database, article_id: int, title: str, body: str, version: int = 1, language: str = "fa") -> bool:
    with database.session() as session:
        return put_document(
            session, article_id=article_id, language=language, title=title, body=body, version=version, job_id="j"
        )


@pytest.mark.parametrize("query", ["میشود", "می‌شود", "می شود", "ذخیره", "ذخی", "«ذخیره»"])
@pytest.mark.each_database
def test_a_query_finds_every_spelling(database: Database, query: str) -> None:
    put(database, 1, "حافظه", "داده در حافظه ذخیره می‌شود و می‌ماند.")
    put(database, 2, "دیگر", "چیزی دیگر")

    assert [hit.article_id for hit in search(database, query)] == [1]


@pytest.mark.each_database
def test_a_word_in_the_title_counts_more(database: Database) -> None:
    put(database, 1, "other", "redis " * 3 + "filler " * 50, language="en")
    put(database, 2, "redis", "filler " * 50, language="en")

    assert [hit.article_id for hit in search(database, "redis")] == [2, 1]


@pytest.mark.each_database
def test_an_older_version_never_overwrites_a_newer_one(database: Database) -> None:
    assert put(database, 1, "new", "tomato", version=2)
    assert not put(database, 1, "old", "potato", version=1)
    assert put(database, 1, "new", "carrot", version=2)

    assert search(database, "potato") == []
    assert search(database, "tomato") == []
    assert [hit.title for hit in search(database, "carrot")] == ["new"]


@pytest.mark.each_database
def test_deleted_documents_are_not_found(database: Database) -> None:
    put(database, 1, "a", "tomato")
    with database.session() as session:
        assert delete_documents(session, 1) == 1

    assert search(database, "tomato") == []


@pytest.mark.parametrize(
    "query", ["", "  ", "'; drop table article; --", '"', "*", "a OR b", "NEAR(", ")(", "&|!<->", "_"]
)
@pytest.mark.each_database
def test_odd_queries_are_harmless(database: Database, query: str) -> None:
    put(database, 1, "a", "tomato")

    assert search(database, query) == []


@pytest.mark.each_database
def test_a_very_long_text_is_found_by_its_beginning(database: Database) -> None:
    # Short words as far as words are found; in all more than PostgreSQL holds of one text.
    words = [f"w{n}" for n in range(60_000)] + [f"{n:0100}" for n in range(8_000)]
    put(database, 1, "numbers", " ".join(words), language="en")

    assert [hit.article_id for hit in search(database, "w12345")] == [1]


@pytest.mark.each_database
def test_a_very_long_word_costs_no_more_than_many_short_ones(database: Database) -> None:
    put(database, 1, "data", f"{'x' * 400_000} w12345", language="en")

    assert search(database, "w12345") == []
    put(database, 2, "data", f"w12345 {'x' * 400_000}", language="en")
    assert [hit.article_id for hit in search(database, "w12345")] == [2]


@pytest.mark.each_database
def test_a_hit_says_what_to_highlight(database: Database) -> None:
    put(database, 1, "حافظه", "داده در حافظه ذخیره می‌شود.")

    (hit,) = search(database, "میشود")
    assert [hit.snippet[start:end] for start, end in hit.highlights] == ["می‌شود"]


@pytest.mark.each_database
def test_the_language_filter_and_the_snippet(database: Database) -> None:
    put(database, 1, "a", "word " * 100 + "needle " + "word " * 100, language="en")
    put(database, 1, "b", "needle", language="fa")

    (hit,) = search(database, "needle", language="en")
    assert "needle" in hit.snippet and hit.snippet.startswith("… ") and len(hit.snippet) < 200


def test_limits_are_checked(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        search(database, "a", limit=1_000)
    with pytest.raises(InvalidRequest, match="query"):
        search(database, "a" * 301)
