"""Orders for the demo: on every queue what succeeds, and every kind of thing that does not."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from teknav_ops.producer import Producer
from teknav_ops.runtime.demo.content import DemoContent
from teknav_ops.sample_content.readers import sample_events

_WIDTHS: Final = (240, 320, 480, 640, 800, 960, 1280, 1600)
_GREETING: Final = {
    "en": ("Your week on TekNav", "Three new articles are waiting for you.\n\nSign in: {{link}}\n"),
    "fa": ("هفتهٔ شما در تک‌ناو", "سه مقالهٔ تازه چشم‌به‌راه شماست.\n\nورود: {{link}}\n"),
}

Data = dict[str, Any]
Make = Callable[[DemoContent, random.Random], Data]


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A kind of job the demo enqueues; `weight` is how often, among its like. `needs_…`: only with that."""

    queue: str
    job: str
    make: Make
    weight: float = 1.0
    needs_receiver: bool = False
    needs_damaged: bool = False


def _article(content: DemoContent, chance: random.Random) -> Data:
    return {"article_id": chance.choice(content.article_ids)}


def _image(content: DemoContent, chance: random.Random) -> Data:
    return {"file_id": chance.choice(content.file_ids), "widths": sorted(chance.sample(_WIDTHS, 2))}


def _mail(content: DemoContent, chance: random.Random, name: str = "reader") -> Data:
    language = chance.choice(("en", "fa"))
    subject, text = _GREETING[language]
    return {
        "to": f"{name}{chance.randrange(500)}@teknav.example.com", "subject": subject, "text": text,
        "language": language, "html": f"<p>{text}</p>", "unsubscribe_url": "https://teknav.example.com/unsubscribe",
        "secrets": {"link": f"https://teknav.example.com/enter/{chance.getrandbits(96):x}"},
    }  # fmt: skip


def _code(content: DemoContent, chance: random.Random, *, minutes: int = 5) -> Data:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    number, code = f"+98912{chance.randrange(10**7):07}", f"{chance.randrange(10**6):06}"
    return {
        "channel": "sms", "recipient": number, "code": code, "expires_at": moment.isoformat(),
        "language": chance.choice(("fa", "en")),
    }  # fmt: skip


def _webhook(content: DemoContent, chance: random.Random, mood: str = "ok") -> Data:
    return {
        "endpoint_id": content.endpoints[mood], "event_id": f"evt_{chance.getrandbits(64):x}",
        "event_type": "article.published", "occurred_at": datetime.now(UTC).isoformat(),
        "data": {"article_id": chance.choice(content.article_ids)},
    }  # fmt: skip


def _plugin(content: DemoContent, chance: random.Random) -> Data:
    if chance.random() < 0.5:
        return {"plugin": "reading-time", "event": "draft.saved", "input": {"text": "متن " * chance.randrange(20, 900)}}
    terms = {"article_id": chance.choice(content.article_ids), "terms": ["صف", "queue", "cache", "وب"]}
    return {"plugin": "term-counter", "event": "article.published", "input": terms}


def _events(content: DemoContent, chance: random.Random) -> Data:
    return {"events": sample_events(content.article_ids, chance.randrange(50, 300), chance)}


def _publication(content: DemoContent, chance: random.Random) -> Data:
    given = {
        "article_id": chance.choice(content.article_ids), "endpoint_id": content.endpoints["ok"],
        "event_id": f"evt_{chance.getrandbits(64):x}", "occurred_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    return {"workflow": "publish-article", "input": given}


def _pick_of_the_week(content: DemoContent, chance: random.Random) -> Data:
    to = f"reader{chance.randrange(500)}@teknav.example.com"
    return {"workflow": "weekly-pick", "input": {"article_id": chance.choice(content.article_ids), "to": to}}


def _misbehaving(content: DemoContent, chance: random.Random) -> Data:
    return {"plugin": chance.choice(("runaway", "glutton")), "event": "article.published"}


def _code_too_often(content: DemoContent, chance: random.Random) -> Data:
    return _code(content, chance) | {"recipient": "+989120000000"}


ORDINARY: Final = (
    Order("ai:content", "generate-summary", _article),
    Order("ai:seo", "generate-seo", _article),
    Order("ai:review", "review-article", _article),
    Order("workflows:run", "run-workflow", _publication, 0.7, needs_receiver=True),
    Order("workflows:run", "run-workflow", _pick_of_the_week, 0.2, needs_receiver=True),
    Order("plugins:execute", "execute-plugin", _plugin, 1.5),
    Order("analytics:process", "process-events", _events, 1.5),
    Order("analytics:snapshot", "snapshot-dashboard", lambda content, chance: {"days": 30}, 0.5),
    Order("email:send", "send-email", _mail, 3),
    Order("email:send", "send-email", lambda content, chance: _mail(content, chance, "greylisted"), 0.3),
    Order("otp:send", "send-otp", _code, 2),
    Order("webhooks:deliver", "deliver-webhook", _webhook, 2, needs_receiver=True),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "slow"), 0.4, needs_receiver=True),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "moody"), 0.4, needs_receiver=True),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "busy"), 0.3, needs_receiver=True),
    Order("media:optimize", "optimize-image", _image),
    Order("search:index", "index-article", _article, 3),
)

FAULTY: Final = (
    Order("ai:content", "generate-draft", lambda content, chance: {"topic": "نیم‌فاصله در وب", "language": "fa"}),
    Order("ai:seo", "generate-seo", lambda content, chance: {"article_id": 900_000}),
    Order("ai:review", "review-article", lambda content, chance: {"article_id": 900_000}),
    Order("workflows:run", "run-workflow", lambda content, chance: {"workflow": "publish-article", "input": {}}),
    Order(
        "plugins:execute", "execute-plugin", lambda content, chance: {"plugin": "gone", "event": "article.published"}
    ),
    Order("plugins:execute", "execute-plugin", _misbehaving, 2),
    Order(
        "workflows:run",
        "run-workflow",
        lambda content, chance: {"workflow": "notify-partners", "input": {"receiver": content.receiver_url}},
        needs_receiver=True,
    ),
    Order("email:send", "send-email", lambda content, chance: _mail(content, chance, "nobody"), 2),
    Order("otp:send", "send-otp", lambda content, chance: _code(content, chance, minutes=-1)),
    Order("otp:send", "send-otp", _code_too_often),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "broken"), 2, needs_receiver=True),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "refusing"), 1, needs_receiver=True),
    Order("webhooks:deliver", "deliver-webhook", lambda c, r: _webhook(c, r, "blocked"), 1, needs_receiver=True),
    Order("media:optimize", "optimize-image", lambda content, chance: {"file_id": 900_000 + chance.randrange(50)}),
    Order(
        "media:optimize",
        "optimize-image",
        lambda content, chance: {"file_id": chance.choice(content.damaged_file_ids)},
        needs_damaged=True,
    ),
    Order("search:index", "index-article", lambda content, chance: {"article_id": 1, "version": 900_000}),
)


def enqueue_first(producer: Producer, content: DemoContent) -> int:
    """One job for every photograph and article; a second start within a day makes no new ones."""
    jobs = [
        producer.enqueue_media_optimize(file_id=file_id, idempotency_key=f"sample-file-{file_id}")
        for file_id in content.file_ids
    ]
    for article_id in content.article_ids:
        key = f"sample-article-{article_id}"
        jobs.append(producer.enqueue_search_index(article_id=article_id, idempotency_key=key))
        jobs.append(producer.enqueue_ai_seo(article_id=article_id, idempotency_key=key))
        jobs.append(producer.enqueue_ai_review(article_id=article_id, idempotency_key=key))
    return sum(job.is_new for job in jobs)


class Orders:
    """Picks orders; only of `queues`, where some are named."""

    def __init__(self, content: DemoContent, chance: random.Random, *, queues: frozenset[str] = frozenset()) -> None:
        self._content = content
        self._chance = chance
        self._ordinary = [order for order in ORDINARY if self._fits(order, queues)]
        self._faulty = [order for order in FAULTY if self._fits(order, queues)]

    def _fits(self, order: Order, queues: frozenset[str]) -> bool:
        has_all = (self._content.endpoints or not order.needs_receiver) and (
            self._content.damaged_file_ids or not order.needs_damaged
        )
        return (not queues or order.queue in queues) and bool(has_all)

    def pick(self, *, is_faulty: bool, cause: int | None = None) -> Order:
        """An order; with `cause`, always the same faulty one for the same number."""
        among = self._faulty if is_faulty and self._faulty else self._ordinary
        if cause is not None and is_faulty:
            return among[cause % len(among)]
        return self._chance.choices(among, weights=[order.weight for order in among])[0]

    def enqueue(self, producer: Producer, order: Order) -> str:
        """Enqueue it; answers its queue."""
        producer.enqueue(order.queue, order.job, order.make(self._content, self._chance))
        return order.queue
