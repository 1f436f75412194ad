"""The sample content is whole, true to its form, and loaded once."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from teknav_ops import sample_content
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article, File, Translation


def test_there_are_articles_of_several_hundred_words_in_both_languages() -> None:
    articles = sample_content.read_articles()

    assert {article.language for article in articles} == {"fa", "en"}
    assert {article.status for article in articles} == {"published", "draft"}
    published = [article for article in articles if article.status == "published"]
    assert all(len(article.body.split()) >= 300 for article in published)
    persian = [article.body for article in published if article.language == "fa"]
    assert all("‌" in body and not set("يكةى") & set(body.replace("«كتاب»", "").replace("«ك»", "")) for body in persian)


def test_photographs_come_with_their_licences() -> None:
    photos = sample_content.photo_paths()

    notice = (photos[0].parent / "README.md").read_text()
    assert len(photos) == 7 and all(photo.name in notice for photo in photos)


def test_loading_twice_adds_nothing(database: Database, tmp_path: Path) -> None:
    first = sample_content.load(database, tmp_path)
    second = sample_content.load(database, tmp_path)

    assert first == second
    with database.session() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (Article, Translation, File)]
    assert counts == [6, 1, 7]
    assert len(list((tmp_path / "originals").iterdir())) == 7
