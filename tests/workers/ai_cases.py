"""What the AI tests share: services with a scripted model, articles, and the books."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from teknav_ops.storage.tables import AiEventLog, AiRun, Article
from tests.support.ai_server import AiServer
from tests.workers.conftest import MakeServices
from workers.services import Services

FA_BODY = (
    "صف نامه‌های مرده جایی است که کارِ شکست‌خورده در آن کنار گذاشته می‌شود. مهندس هر روز نگاهش می‌کند.\n\n"
    "‏کتاب‌خانه‌ها و می‌رود را با نیم‌فاصله می‌نویسیم و پیوند https://teknav.example/dlq را نگه می‌داریم.\n\n"
    "```\nretry = 5  # نمونه\n```\n"
)
EN_BODY = (
    "A dead-letter queue is where failed jobs wait for a person. It keeps the error and the payload.\n\n"
    "See https://teknav.example/dlq for the details of each cause, and replay what can be replayed.\n\n"
    "```\nretry = 5\n```\n"
)
KEY = "sk-test-0123456789"


def with_model(make_services: MakeServices, server: AiServer, **facts: Any) -> Services:
    """Services that ask the scripted server; a dollar for a million tokens, unless said otherwise."""
    told = {"ai_base_url": server.url, "ai_model": "test-model", "ai_api_key": KEY}
    priced = {"ai_input_usd_per_million": 1.0, "ai_output_usd_per_million": 10.0}
    return make_services(**{**told, **priced, **facts})


def add_article(services: Services, language: str = "fa", **facts: Any) -> int:
    body, title = (FA_BODY, "صف نامه‌های مرده") if language == "fa" else (EN_BODY, "Dead-letter queues")
    article = Article(**{"slug": f"a-{language}", "language": language, "title": title, "body": body, "author": "T",
                         "status": "published", "tags": [], **facts})  # fmt: skip
    with services.database.session() as session:
        session.add(article)
        session.flush()
        return article.id


def article(services: Services, article_id: int) -> Article:
    with services.database.reading() as session:
        return session.get_one(Article, article_id)


def runs(services: Services) -> list[AiRun]:
    with services.database.reading() as session:
        return list(session.scalars(select(AiRun).order_by(AiRun.id)))


def events(services: Services) -> list[AiEventLog]:
    with services.database.reading() as session:
        return list(session.scalars(select(AiEventLog).order_by(AiEventLog.id)))


def rows(services: Services, table: Any) -> list[Any]:
    with services.database.reading() as session:
        return list(session.scalars(select(table).order_by(table.id)))
