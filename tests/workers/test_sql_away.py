"""SQL is killed under jobs that need it: they wait, use up no attempt, and end well when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from teknav_ops.engine.middleware import retry
from teknav_ops.errors import StorageUnavailable
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.schema import upgrade
from teknav_ops.storage.tables import Article, JobEffect, SearchDocument
from tests.conftest import SECRET_KEY
from tests.support.postgres_server import PostgresServer
from tests.support.real_engine import topology_of, working
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from workers.search_index import index_article
from workers.services import open_services

COUNT = 8


def test_jobs_wait_for_a_database_that_was_killed(
    own_postgres: PostgresServer, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 200)
    upgrade(own_postgres.url)
    settings = Settings(
        data_dir=tmp_path, redis_url=redis_server.url, database_url=own_postgres.url, secret_key=SECRET_KEY
    )
    services, topology = open_services(settings), topology_of("search:index")
    with services.database.session() as session:
        session.add_all(
            Article(id=n, slug=f"a{n}", language="en", title=f"Article {n}", body="x", author="S", status="published",
                    version=1, tags=[])
            for n in range(1, COUNT + 1)
        )  # fmt: skip
    own_postgres.kill()
    producer = Producer.from_settings(settings)
    ids = [job.job_id for job in producer.enqueue_many(
        "search:index", "index-article", [{"article_id": n} for n in range(1, COUNT + 1)])]  # fmt: skip
    queries = JobQueries(redis_server.client(), topology)  # type: ignore[arg-type]

    with working(services, [index_article], topology):
        # Five attempts would be over at the sixth hand-over.
        until(lambda: min(queries.get("search:index", job_id).delivery for job_id in ids) > 6, what="many hand-overs")
        own_postgres.start()
        until(lambda: queries.counts("search:index").completed == COUNT, what="every job's end")

    assert queries.counts("search:index").dlq == 0
    assert {queries.get("search:index", job_id).attempts_made for job_id in ids} == {1}
    with services.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SearchDocument)) == COUNT
    services.database.dispose()


def test_effects_can_be_recorded_or_nothing_is_begun_again(own_postgres: PostgresServer) -> None:
    upgrade(own_postgres.url)
    database = Database.open(own_postgres.url)
    effects = SqlEffects(database)
    effects.require_writes()

    own_postgres.reads_only("on")
    assert effects.find("a job") is None
    with pytest.raises(StorageUnavailable, match="takes no writes"):
        effects.require_writes()

    own_postgres.reads_only("off")
    effects.require_writes()
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobEffect)) == 0
    database.dispose()
