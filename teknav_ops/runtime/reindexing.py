"""Every article into the search index anew, behind all other work, and how far that has come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy import select

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article

QUEUE: Final = "search:index"
#: What readers wait for goes first.
_LAST: Final = 9


def begin(database: Database, producer: Producer) -> int:
    """Enqueue a job for each article; answers how many. Raises RedisUnavailable."""
    with database.reading() as session:
        ids = list(session.scalars(select(Article.id).order_by(Article.id)))
    items = [{"article_id": article_id} for article_id in ids]
    return len(producer.enqueue_many(QUEUE, "index-article", items, priority=_LAST)) if items else 0


def progress(queries: JobQueries, count: int, *, poll_seconds: float) -> Iterator[int]:
    """How many of `count` are done, again and again until all are; what else waits in the queue counts as left."""
    done = -1
    while done < count:
        now = queries.counts(QUEUE)
        done = max(done, count - min(count, now.waiting + now.active + now.delayed))
        yield done
        if done < count:
            time.sleep(poll_seconds)
