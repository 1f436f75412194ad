"""The demo: real jobs on the sample content, and now and then one that cannot succeed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final

from teknav_ops.producer import Producer
from teknav_ops.sample_content import LoadedContent

_WIDTHS: Final = (240, 320, 480, 640, 800, 960, 1280, 1600)
#: How many ordinary jobs there are to one that fails for good.
_ORDINARY_TO_FAULTY: Final = 12

_GREETING: Final = {
    "en": ("Your week on TekNav", "Three new articles are waiting for you.\n\nSign in: {{link}}\n"),
    "fa": ("هفتهٔ شما در تک‌ناو", "سه مقالهٔ تازه چشم‌به‌راه شماست.\n\nورود: {{link}}\n"),
}


def enqueue_first(producer: Producer, content: LoadedContent) -> int:
    """One job for every photograph and article; a second start within a day makes no new ones."""
    jobs = [
        producer.enqueue_media_optimize(file_id=file_id, idempotency_key=f"sample-file-{file_id}")
        for file_id in content.file_ids
    ]
    jobs += [
        producer.enqueue_search_index(article_id=article_id, idempotency_key=f"sample-article-{article_id}")
        for article_id in content.article_ids
    ]
    return sum(job.is_new for job in jobs)


def steady_load(producer: Producer, content: LoadedContent, chance: random.Random) -> Iterator[str]:
    """Enqueue one job per step, for ever; yields its queue."""
    for number in itertools.count(1):
        if number % _ORDINARY_TO_FAULTY == 0:
            yield _enqueue_faulty(producer, chance)
        else:
            yield _enqueue_ordinary(producer, content, chance)


def _enqueue_ordinary(producer: Producer, content: LoadedContent, chance: random.Random) -> str:
    kind = chance.choices(("media:optimize", "search:index", "email:send"), weights=(2, 4, 3))[0]
    if kind == "media:optimize":
        widths = sorted(chance.sample(_WIDTHS, 2))
        producer.enqueue_media_optimize(file_id=chance.choice(content.file_ids), widths=widths)
    elif kind == "search:index":
        producer.enqueue_search_index(article_id=chance.choice(content.article_ids))
    else:
        language = chance.choice(("en", "fa"))
        subject, text = _GREETING[language]
        producer.enqueue_email_send(
            to=f"reader{chance.randrange(500)}@teknav.example.com", subject=subject, text=text, language=language,
            html=f"<p>{text}</p>", unsubscribe_url="https://teknav.example.com/unsubscribe",
            secrets={"link": f"https://teknav.example.com/enter/{chance.getrandbits(96):x}"},
        )  # fmt: skip
    return kind


def _enqueue_faulty(producer: Producer, chance: random.Random) -> str:
    """A file nobody uploaded is given up at once; a version nobody wrote is retried first."""
    if chance.random() < 0.5:
        producer.enqueue_media_optimize(file_id=900_000 + chance.randrange(50))
        return "media:optimize"
    producer.enqueue_search_index(article_id=1, version=900_000)
    return "search:index"
