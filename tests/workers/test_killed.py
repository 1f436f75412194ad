"""SIGKILL in the middle of a job, for the queues whose own tests do not show it: nothing half done, and done again."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select, text

from teknav_ops.payloads.ai_review import ReviewArticle
from teknav_ops.payloads.ai_seo import GenerateSeo
from teknav_ops.payloads.analytics_snapshot import SnapshotDashboard
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.platform.dashboard import read_dashboard
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.search import search
from teknav_ops.storage.tables import AIReport, ArticleQualityReport, EmailQueue
from tests.support import warm_python
from tests.support.ai_server import AiServer, Reply
from tests.support.http_receiver import FOR_EVER
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.workers.ai_cases import add_article, article, rows, runs, with_model
from tests.workers.conftest import MakeContext, MakeServices
from tests.workers.test_ai_review import review
from tests.workers.test_ai_seo import GOOD
from workers.ai_review import review_article
from workers.ai_seo import generate_seo
from workers.analytics_snapshot import snapshot_dashboard
from workers.email_send import send_email
from workers.search_index import index_article
from workers.services import Services

#: Does one job, and says each statement before it is executed.
JOB = """
import importlib, json, sys, structlog
from sqlalchemy import event
from teknav_ops.engine.processor import JobContext
from teknav_ops.settings import Settings
from workers.services import open_services
module, name, payload, settings = sys.argv[1:]
services = open_services(Settings(**json.loads(settings)))
processor = getattr(importlib.import_module(module), name)
event.listen(services.database.engine, "before_cursor_execute",
             lambda connection, cursor, statement, *rest: print(statement, flush=True))
ctx = JobContext(job_id="killed", queue="q", name="n", attempt=1, delivery=1, trace_id="", services=services,
                 log=structlog.get_logger())
processor(processor.payload.model_validate_json(payload), ctx)
"""


@contextlib.contextmanager
def begun(
    module: str, name: str, payload: Any, services: Services, **settings: Any
) -> Iterator[Callable[[], str]]:  # fmt: skip
    """A process that does the job meanwhile, killed at the end of the block; answers what it has said so far."""
    told = services.settings
    assert told.database_url is not None
    facts = {"database_url": told.database_url.get_secret_value(), "redis_url": told.redis_url,
             "data_dir": str(told.data_dir), "secret_key": told.secret_key and told.secret_key.get_secret_value(),
             **settings}  # fmt: skip
    command = [sys.executable, "-c", JOB, module, name, payload.model_dump_json(), json.dumps(facts)]
    output = Path(told.data_dir) / "said.txt"
    with output.open("wb") as said:
        process = warm_python.Process(command, cwd=Path(__file__).parents[2], stdout=said)
    try:
        yield output.read_text
        assert process.poll() is None, "it was done before it could be killed"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def model() -> Iterator[AiServer]:
    with AiServer() as server:
        yield server


def test_an_article_gets_its_texts_though_the_first_worker_died(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [Reply(GOOD, delay_seconds=FOR_EVER), Reply(GOOD)]
    services = with_model(make_services, model)
    article_id = add_article(services)
    job = GenerateSeo(article_id=article_id)
    with begun("workers.ai_seo", "generate_seo", job, services, ai_base_url=model.url, ai_model="m"):
        until(lambda: len(model.requests) == 1, seconds=60)
    assert article(services, article_id).seo_title is None and runs(services)[0].status == "running"

    generate_seo(job, make_context("killed", delivery=2, services=services))

    assert article(services, article_id).seo_title == GOOD["seo_title"]
    assert [run.status for run in runs(services)] == ["lost", "succeeded"]


def test_a_review_is_given_once_though_the_first_worker_died(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [Reply(review(), delay_seconds=FOR_EVER), Reply(review())]
    services = with_model(make_services, model)
    job = ReviewArticle(article_id=add_article(services, "en"))
    with begun("workers.ai_review", "review_article", job, services, ai_base_url=model.url, ai_model="m"):
        until(lambda: len(model.requests) == 1, seconds=60)
    assert (len(rows(services, ArticleQualityReport)), rows(services, AIReport)) == (1, [])

    review_article(job, make_context("killed", delivery=2, services=services))

    assert (len(rows(services, ArticleQualityReport)), len(rows(services, AIReport))) == (1, 1)
    assert [run.status for run in runs(services)] == ["lost", "succeeded"]


class SlowInbox:
    """Takes mails; while `is_slow` it has the mail and does not say so."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_slow = True

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        import asyncio
        import email

        mail: Message = email.message_from_bytes(envelope.content or b"")  # type: ignore[arg-type]
        self.ids.append(str(mail["Message-ID"]))
        for _ in range(200):
            if not self.is_slow:
                break
            await asyncio.sleep(0.1)
        return "250 kept"


@pytest.mark.each_database
def test_a_mail_whose_worker_died_before_the_answer_is_sent_again_under_the_same_id(
    make_services: MakeServices, make_context: MakeContext
) -> None:
    inbox = SlowInbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    smtp_url = f"smtp+plain://127.0.0.1:{controller.port}"
    services = make_services(smtp_url=smtp_url)
    job = SendEmail(to="reader@example.com", subject="سلام", text="متن")
    try:
        with begun("workers.email_send", "send_email", job, services, smtp_url=smtp_url):
            until(lambda: len(inbox.ids) == 1, seconds=60)
        assert mail_row(services).status == "sending" and SqlEffects(services.database).find("killed") is None
        inbox.is_slow = False

        send_email(job, make_context("killed", delivery=2, services=services))
    finally:
        inbox.is_slow = False
        controller.stop()

    assert len(inbox.ids) == 2 and len(set(inbox.ids)) == 1
    assert (mail_row(services).status, mail_row(services).attempt_count) == ("sent", 2)


def mail_row(services: Services) -> EmailQueue:
    with services.database.reading() as session:
        return session.scalars(select(EmailQueue).where(EmailQueue.job_id == "killed")).one()


@pytest.mark.each_database
def test_a_search_document_is_written_whole_or_not_at_all(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services, title="صفِ «نامه»ها")
    job = IndexArticle(article_id=article_id)
    with services.database.session() as holding:
        if services.database.is_sqlite:
            holding.execute(text("update article set version = version"))
        else:
            holding.execute(text("lock table search_document in access exclusive mode"))
        with begun("workers.search_index", "index_article", job, services) as said:
            until(
                lambda: ("begin immediate" if services.database.is_sqlite else "search_document") in said(), seconds=60
            )
    assert search(services.database, "نامه‌ها") == [] and SqlEffects(services.database).find("killed") is None

    index_article(job, make_context("killed", delivery=2, services=services))

    assert [hit.article_id for hit in search(services.database, "نامه‌ها")] == [article_id]


def test_the_dashboard_that_stands_stays_until_the_new_one_is_whole(
    services: Services, make_context: MakeContext, client: redis.Redis
) -> None:
    snapshot_dashboard(SnapshotDashboard(days=7), make_context())
    before = read_dashboard(client, days=7)  # type: ignore[arg-type]
    client.client_pause(60_000, all=False)
    try:
        with begun("workers.analytics_snapshot", "snapshot_dashboard", SnapshotDashboard(days=7), services):
            until(lambda: any("b" in other["flags"] for other in client.client_list()), seconds=60)
    finally:
        client.client_unpause()
    assert read_dashboard(client, days=7) == before  # type: ignore[arg-type]

    snapshot_dashboard(SnapshotDashboard(days=7), make_context("killed", delivery=2))

    after = read_dashboard(client, days=7)  # type: ignore[arg-type]
    assert before is not None and after is not None and after.made_at > before.made_at
