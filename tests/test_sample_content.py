"""The sample content is whole, true to its form, and loaded once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from sqlalchemy import func, select

from teknav_ops import sample_content
from teknav_ops.sample_content import SampleArticle
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article, File, Translation

ARTICLES = sample_content.read_articles()
PERSIAN = [article for article in ARTICLES if article.language == "fa"]
NON_JOINER = "\u200c"


def slug_of(article: SampleArticle) -> str:
    return article.slug


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every column of every row that the sample content may fill."""
    with database.session() as session:
        return {
            table.__tablename__: [tuple(row) for row in session.execute(select(table.__table__).order_by(table.id))]
            for table in (Article, Translation, File)
        }


def test_there_are_six_articles_in_each_language_two_translations_and_a_draft_in_each() -> None:
    assert sorted(article.language for article in ARTICLES) == ["en"] * 6 + ["fa"] * 6
    assert sorted(article.language for article in ARTICLES if article.status == "draft") == ["en", "fa"]
    originals = {article.slug for article in ARTICLES if article.language == "en"}
    translated = [article.translation_of for article in ARTICLES if article.translation_of]
    assert len(translated) == 2 and originals.issuperset(translated)
    assert len({article.slug for article in ARTICLES}) == 12
    assert {article.status for article in ARTICLES} == {"draft", "published"}


@pytest.mark.parametrize("article", ARTICLES, ids=slug_of)
def test_an_article_is_several_hundred_words_by_somebody_about_something(article: SampleArticle) -> None:
    assert 350 <= len(article.body.split()) <= 600
    assert article.title and article.author and len(article.tags) >= 2
    assert article.body.count("\n\n") >= 3


@pytest.mark.parametrize("article", PERSIAN, ids=slug_of)
def test_persian_is_spelt_as_persian(article: SampleArticle) -> None:
    # An article about letters may show the Arabic ones, in quotes or each by itself.
    text = re.sub("«[^»]*»|(?<!\\w)[يك](?!\\w)|[٠-٩]{3}(?= عربی)", "", f"{article.title}\n{article.body}")

    assert not set("يكى٠١٢٣٤٥٦٧٨٩") & set(text)
    assert text.count(NON_JOINER) >= 20
    assert not re.findall(rf"\s{NON_JOINER}|{NON_JOINER}\s|{NON_JOINER}{{2}}", text)
    assert not re.findall(r"\bن?می \w+|\w+ (?:ها|های|هایی|ترین)\b", text), "needs a non-joiner"
    assert not re.findall(r"[\u0600-\u06ff][,;?]", text), "Latin punctuation after a Persian word"


def test_photographs_come_with_their_licences() -> None:
    photos = sample_content.photo_paths()

    notice = (photos[0].parent / "README.md").read_text()
    assert len(photos) == 7 and all(photo.name in notice for photo in photos)


@pytest.mark.each_database
def test_loading_twice_changes_nothing(database: Database, tmp_path: Path) -> None:
    first = sample_content.load(database, tmp_path)
    before = rows(database)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}

    assert sample_content.load(database, tmp_path) == first
    assert rows(database) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == files
    assert [len(rows) for rows in before.values()] == [10, 2, 7]
    assert (len(first.article_ids), len(first.file_ids)) == (10, 7)


@pytest.mark.each_database
def test_what_an_editor_changed_stays(database: Database, tmp_path: Path) -> None:
    loaded = sample_content.load(database, tmp_path)
    with database.session() as session:
        session.get_one(Article, loaded.article_ids[0]).title = "Changed"
        session.get_one(File, loaded.file_ids[0]).status = "optimized"

    sample_content.load(database, tmp_path)

    with database.session() as session:
        assert session.get_one(Article, loaded.article_ids[0]).title == "Changed"
        assert session.get_one(File, loaded.file_ids[0]).status == "optimized"


@pytest.mark.parametrize("photo_number", [0, 3, 6])
def test_an_interrupted_loading_is_completed_by_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo_number: int
) -> None:
    replace = Path.replace
    renamed: list[Path] = []

    def die_at_the_photo(draft: Path, target: Path) -> Path:
        if len(renamed) == photo_number:
            raise KeyboardInterrupt
        renamed.append(target)
        return replace(draft, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", die_at_the_photo)
        sample_content.load(database, tmp_path)

    loaded = sample_content.load(database, tmp_path)

    assert len(loaded.file_ids) == 7
    assert not list((tmp_path / "drafts").iterdir())


def test_stored_photographs_are_named_by_their_content_and_published_articles_are_dated(
    database: Database, tmp_path: Path
) -> None:
    sample_content.load(database, tmp_path)

    with database.session() as session:
        for file in session.scalars(select(File)):
            content = (tmp_path / file.storage_path).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            assert (file.sha256, file.byte_count, file.status) == (digest, len(content), "uploaded")
            assert Path(file.storage_path).stem == digest[:32]
        undated = session.scalar(select(func.count()).where(Article.published_at.is_(None)))
        drafts = session.scalar(select(func.count()).where(Article.status == "draft"))
    assert undated == drafts == 2
