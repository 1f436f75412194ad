"""search:index: what a reader of the search page should and should not find."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from sqlalchemy import func, insert, select, text

from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.runtime import reindexing
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.search import search
from teknav_ops.storage.tables import Article, SearchDocument, Translation
from tests.support.real_engine import topology_of, working
from tests.support.scale import scaled
from tests.support.waiting import ANSWER_SECONDS, until
from tests.workers.conftest import MakeContext
from workers import search_index
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


@pytest.mark.each_database
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
@pytest.mark.each_database
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


def add_translation(services: Services, article_id: int, body: str, version: int) -> None:
    with services.database.session() as session:
        session.add(Translation(article_id=article_id, language="fa", title="ت", body=body, version=version))


@pytest.mark.each_database
def test_a_translation_that_is_made_anew_replaces_the_old_one(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)
    add_translation(services, article_id, "قدیم", version=9)
    index_article(IndexArticle(article_id=article_id), make_context())
    with services.database.session() as session:
        session.delete(session.get_one(Article, article_id).translations[0])
    add_translation(services, article_id, "تازه", version=1)

    index_article(IndexArticle(article_id=article_id), make_context())

    assert search(services.database, "قدیم") == []
    assert len(search(services.database, "تازه")) == 1


def has_waiting_session(services: Services) -> bool:
    with services.database.reading() as session:
        ours = "(select pid from pg_stat_activity where datname = current_database())"
        return bool(session.scalar(text(f"select count(*) from pg_locks where not granted and pid in {ours}")))


@pytest.mark.each_database
def test_a_slow_job_does_not_put_back_what_was_unpublished_meanwhile(
    services: Services, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    article_id = add_article(services)
    is_about_to_write, may_write = threading.Event(), threading.Event()
    write = search_index.put_document

    def write_late(*args: object, **facts: object) -> bool:
        is_about_to_write.set()
        may_write.wait(30)
        return write(*args, **facts)  # type: ignore[arg-type]

    def unpublish() -> None:
        change(services, article_id, status="unpublished")
        index_article(IndexArticle(article_id=article_id), make_context())

    monkeypatch.setattr(search_index, "put_document", write_late)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(index_article, IndexArticle(article_id=article_id), make_context())
        assert is_about_to_write.wait(30)
        later = pool.submit(unpublish)
        if not services.database.is_sqlite:
            until(lambda: later.done() or has_waiting_session(services))
        may_write.set()
        slow.result(30)
        later.result(30)

    assert search(services.database, "xadd") == []


@pytest.mark.each_database
def test_all_articles_are_indexed_anew_with_progress(services: Services, client: redis.Redis) -> None:
    portion = scaled(30)
    count = 6 * portion
    rows = [
        {"slug": f"s{n}", "language": "en", "title": f"Article {n}", "body": f"Body of number{n} here", "author": "S",
         "status": "published", "version": 1, "tags": []} for n in range(count)
    ]  # fmt: skip
    with services.database.session() as session:
        session.execute(insert(Article), rows)
    permits = threading.Semaphore(0)

    def index_when_permitted(job: IndexArticle, ctx: JobContext[Services]) -> Mapping[str, Any] | None:
        assert permits.acquire(timeout=ANSWER_SECONDS)
        return index_article(job, ctx)

    queries = JobQueries(client, topology_of("search:index"))  # type: ignore[arg-type]
    assert reindexing.begin(services.database, services.producer) == count
    seen, permitted = [], 0
    processor = Processor("index-article", IndexArticle, index_when_permitted)
    with working(services, [processor], topology_of("search:index"), threads=4):
        for done in reindexing.progress(queries, count, poll_seconds=0.01):
            seen.append(done)
            if done == permitted:
                permitted += portion
                permits.release(portion)

    assert seen == sorted(seen) and set(range(0, count + 1, portion)) <= set(seen)
    with services.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SearchDocument)) == count
    assert [hit.title for hit in search(services.database, f"number{count - 1}")] == [f"Article {count - 1}"]
