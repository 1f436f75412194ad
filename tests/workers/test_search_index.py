"""search:index: what a reader of the search page should and should not find."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.search import search
from teknav_ops.storage.tables import Article, Translation
from tests.workers.conftest import MakeContext
from workers.search_index import VersionNotReadable, index_article
from workers.services import Services


def add_article(services: Services, **facts: object) -> int:
    values = {"slug": "a", "language": "en", "title": "Redis streams", "body": "XADD appends.", "author": "S",
              "status": "published", "version": 3, "tags": [], **facts}  # fmt: skip
    with services.database.session() as session:
        article = Article(**values)
        session.add(article)
        session.flush()
        return article.id


def change(services: Services, article_id: int, **facts: object) -> None:
    with services.database.session() as session:
        article = session.get_one(Article, article_id)
        for name, value in facts.items():
            setattr(article, name, value)


def test_an_article_and_its_translations_are_found(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)
    with services.database.session() as session:
        session.add(
            Translation(article_id=article_id, language="fa", title="جریان‌ها", body="افزودن به پایان", version=1)
        )
    ctx = make_context()

    summary = index_article(IndexArticle(article_id=article_id, version=3), ctx)

    assert summary is not None and (summary["indexed"], summary["overtaken"], summary["removed"]) == (2, 0, 0)
    assert [hit.language for hit in search(services.database, "xadd")] == ["en"]
    assert [hit.language for hit in search(services.database, "جریانها")] == ["fa"]
    assert SqlEffects(services.database).find(ctx.job_id) == summary


def test_running_twice_changes_nothing(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)
    ctx = make_context()
    index_article(IndexArticle(article_id=article_id), ctx)
    before = search(services.database, "xadd")

    index_article(IndexArticle(article_id=article_id), ctx)

    assert search(services.database, "xadd") == before


@pytest.mark.parametrize("status", ["unpublished", "draft"])
def test_unpublishing_removes(services: Services, make_context: MakeContext, status: str) -> None:
    article_id = add_article(services)
    index_article(IndexArticle(article_id=article_id), make_context())
    change(services, article_id, status=status)

    summary = index_article(IndexArticle(article_id=article_id), make_context())

    assert summary is not None and summary["removed"] == 1
    assert search(services.database, "xadd") == []


def test_a_removed_translation_leaves_the_index(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)
    with services.database.session() as session:
        session.add(Translation(article_id=article_id, language="fa", title="ت", body="افزودن", version=1))
    index_article(IndexArticle(article_id=article_id), make_context())
    with services.database.session() as session:
        session.delete(session.get_one(Article, article_id).translations[0])

    index_article(IndexArticle(article_id=article_id), make_context())

    assert search(services.database, "افزودن") == []
    assert len(search(services.database, "xadd")) == 1


def test_an_article_that_is_gone_leaves_nothing_behind(services: Services, make_context: MakeContext) -> None:
    summary = index_article(IndexArticle(article_id=4711), make_context())

    assert summary is not None and summary["status"] == "deleted"


def test_a_version_that_is_not_readable_yet_is_waited_for(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)

    with pytest.raises(VersionNotReadable, match="at version 3, not yet 4"):
        index_article(IndexArticle(article_id=article_id, version=4), make_context())


def test_ten_thousand_articles_are_indexed(services: Services, make_context: MakeContext) -> None:
    rows = [
        {"slug": f"s{n}", "language": "en", "title": f"Article {n}", "body": f"Body of number{n} here", "author": "S",
         "status": "published", "version": 1, "tags": []} for n in range(10_000)
    ]  # fmt: skip
    with services.database.session() as session:
        ids = list(session.scalars(insert(Article).returning(Article.id, sort_by_parameter_order=True), rows))
    ctx = make_context()

    # The processor is the same for each; a hundred spread over the table show it at this size.
    for article_id in ids[::100]:
        index_article(IndexArticle(article_id=article_id), make_context(queue=ctx.queue))

    assert [hit.title for hit in search(services.database, "number9900")] == ["Article 9900"]
