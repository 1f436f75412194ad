"""search:index: keep what readers can find up to date."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import TransientError
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.search import delete_documents, put_document
from teknav_ops.storage.tables import Article, Translation
from workers.services import Services


class VersionNotReadable(TransientError):
    """The version this job is about has not reached the database yet."""


@processor("index-article")
def index_article(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
    """Write a document per language of a published article; take out all others.

    Runs twice safely: there is one document per article and language, jobs of one article take turns,
    and the database refuses to overwrite a newer version with an older one.
    """
    begun = time.perf_counter()
    with ctx.services.database.session() as session:
        # One job of an article at a time: an older one would put back what a newer one has taken out.
        article = session.get(Article, job.article_id, with_for_update={"key_share": True})
        if article is None or article.status != "published":
            counts = {"indexed": 0, "overtaken": 0, "removed": delete_documents(session, job.article_id)}
        else:
            _require_version(article, job.version)
            counts = _index(session, article, ctx.job_id)
        summary = {
            "status": article.status if article else "deleted",
            **counts,
            "duration_ms": round((time.perf_counter() - begun) * 1000, 1),
        }
        record_effect(session, ctx.job_id, ctx.queue, summary)
    ctx.log.info("search.indexed", article_id=job.article_id, **summary)
    return summary


def _require_version(article: Article, version: int | None) -> None:
    if version is not None and article.version < version:
        raise VersionNotReadable(f"article {article.id} is at version {article.version}, not yet {version}")


def _index(session: Session, article: Article, job_id: str) -> dict[str, int]:
    # Only the article's version counts: a translation that is made anew starts at 1 again.
    texts: dict[str, Article | Translation] = {text.language: text for text in article.translations}
    texts.setdefault(article.language, article)
    written = [
        put_document(
            session, article_id=article.id, version=article.version, job_id=job_id,
            language=language, title=text.title, body=text.body,
        )
        for language, text in sorted(texts.items())
    ]  # fmt: skip
    removed = delete_documents(session, article.id, except_languages=texts.keys())
    return {"indexed": sum(written), "overtaken": len(written) - sum(written), "removed": removed}
