"""Sample content: articles and photographs to run real jobs on from the first day."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article, File, Translation

_PUBLISHED_AT: Final = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class SampleArticle:
    """One article as its file states it."""

    slug: str
    language: str
    title: str
    author: str
    tags: list[str]
    status: str
    translation_of: str | None
    body: str


@dataclasses.dataclass(frozen=True, slots=True)
class LoadedContent:
    """The rows that hold the sample content."""

    article_ids: list[int]
    file_ids: list[int]


def read_articles() -> list[SampleArticle]:
    """All sample articles, originals before their translations."""
    folder = resources.files(__name__).joinpath("articles")
    texts = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".md")]
    return sorted(map(_parse, texts), key=lambda article: (article.translation_of is not None, article.slug))


def _parse(text: str) -> SampleArticle:
    head, _, body = text.partition("\n\n")
    facts = dict(line.split(": ", 1) for line in head.splitlines())
    return SampleArticle(
        slug=facts["slug"],
        language=facts["language"],
        title=facts["title"],
        author=facts["author"],
        tags=[tag.strip() for tag in facts["tags"].split(",")],
        status=facts["status"],
        translation_of=facts.get("translation_of"),
        body=body.strip(),
    )


def photo_paths() -> list[Path]:
    """The sample photographs; their licences stand beside them."""
    folder = Path(str(resources.files(__name__).joinpath("photos")))
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))


def load(database: Database, media_root: Path) -> LoadedContent:
    """Put the sample content in place. What is there already stays as it is, edits included."""
    with database.session() as session:
        article_ids = [_put_article(session, article) for article in read_articles() if not article.translation_of]
        for article in read_articles():
            if article.translation_of:
                _put_translation(session, article)
    file_ids = [_put_photo(database, media_root, path) for path in photo_paths()]
    return LoadedContent(article_ids, file_ids)


def _put_article(session: Session, sample: SampleArticle) -> int:
    article = session.scalar(select(Article).where(Article.slug == sample.slug))
    if article is None:
        article = Article(
            slug=sample.slug, language=sample.language, title=sample.title, body=sample.body, author=sample.author,
            tags=sample.tags, status=sample.status, version=1,
            published_at=_PUBLISHED_AT if sample.status == "published" else None,
        )  # fmt: skip
        session.add(article)
        session.flush()
    return article.id


def _put_translation(session: Session, sample: SampleArticle) -> None:
    original = session.scalars(select(Article).where(Article.slug == sample.translation_of)).one()
    if all(translation.language != sample.language for translation in original.translations):
        original.translations.append(
            Translation(language=sample.language, title=sample.title, body=sample.body, version=1)
        )


def _put_photo(database: Database, media_root: Path, photo: Path) -> int:
    content = photo.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stored = f"originals/{digest[:32]}{photo.suffix}"
    target = media_root / stored
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".draft")
        draft.write_bytes(content)
        draft.replace(target)
    # The row comes after its file: a row without one would be a broken upload.
    with database.session() as session:
        file = session.scalar(select(File).where(File.storage_path == stored))
        if file is None:
            file = File(
                storage_path=stored, original_name=photo.name, byte_count=len(content), sha256=digest, variants=[]
            )
            session.add(file)
            session.flush()
        return file.id
