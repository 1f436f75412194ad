"""Sample content: articles and photographs to run real jobs on from the first day."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.durable_files import write_whole
from teknav_ops.storage.database import Database, insert_into
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
    """Put the sample content in place. What is there already stays as it is, edits included.

    A second call changes nothing, and completes what an interrupted one left out; two at once are harmless.

    Raises:
        StorageUnavailable: the database did not answer.
        OSError: the media folder cannot be written.
    """
    articles = read_articles()
    with database.session() as session:
        article_ids = [_put_article(session, article) for article in articles if not article.translation_of]
        for article in articles:
            if article.translation_of:
                _put_translation(session, article)
    file_ids = [_put_file(database, media_root, path.name, path.read_bytes()) for path in photo_paths()]
    return LoadedContent(article_ids, file_ids)


def _put_article(session: Session, sample: SampleArticle) -> int:
    return _put_row(
        session, Article, {"slug": sample.slug},
        language=sample.language, title=sample.title, body=sample.body, author=sample.author,
        tags=sample.tags, status=sample.status, version=1,
        published_at=_PUBLISHED_AT if sample.status == "published" else None,
    )  # fmt: skip


def _put_translation(session: Session, sample: SampleArticle) -> None:
    original_id = session.scalars(select(Article.id).where(Article.slug == sample.translation_of)).one()
    key = {"article_id": original_id, "language": sample.language}
    _put_row(session, Translation, key, title=sample.title, body=sample.body, version=1)


def load_damaged(database: Database, media_root: Path) -> list[int]:
    """Put two uploads in place that are no whole photographs: one cut off, one a drawing under a photograph's name."""
    return [_put_file(database, media_root, name, content) for name, content in _damaged().items()]


def find_damaged(database: Database) -> list[int]:
    """Those of `load_damaged` that are there."""
    paths = [_stored_path(name, content) for name, content in _damaged().items()]
    with database.reading() as session:
        return list(session.scalars(select(File.id).where(File.storage_path.in_(paths)).order_by(File.id)))


def _damaged() -> dict[str, bytes]:
    whole = next(path for path in photo_paths() if path.suffix == ".jpg").read_bytes()
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    return {"cut-off.jpg": whole[: len(whole) // 2], "drawing.jpg": drawing}


def _stored_path(name: str, content: bytes) -> str:
    return f"originals/{hashlib.sha256(content).hexdigest()[:32]}{Path(name).suffix}"


def _put_file(database: Database, media_root: Path, name: str, content: bytes) -> int:
    stored = _stored_path(name, content)
    if not (media_root / stored).exists():
        # The workers' media store clears stale drafts out of this folder.
        drafts, target = media_root / "drafts", media_root / stored
        for folder in (drafts, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, content, drafts=drafts)
    # The row comes after its file: a row without one would be a broken upload.
    with database.session() as session:
        return _put_row(
            session, File, {"storage_path": stored},
            original_name=name, byte_count=len(content), sha256=hashlib.sha256(content).hexdigest(), variants=[],
        )  # fmt: skip


def _put_row(session: Session, table: type[Article | Translation | File], key: dict[str, Any], **facts: Any) -> int:
    """The id of the row with this key, made if it is missing."""
    find = select(table.id).filter_by(**key)
    row_id = session.scalar(find)
    if row_id is None:
        session.execute(insert_into(session, table).values(**key, **facts).on_conflict_do_nothing())
        row_id = session.scalars(find).one()
    return row_id
