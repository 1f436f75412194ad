"""THE CATALOGUE: every queue, the jobs it carries, what they are for, and how they may fail.

A new queue is one entry here, one payload module, one processor module and one test. Nothing
else spells a queue name.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from teknav_ops.errors import UnknownJob, UnknownQueue
from teknav_ops.payloads.ai_content import EnhanceContent, GenerateDraft, GenerateSummary, Translate
from teknav_ops.payloads.ai_review import ReviewArticle
from teknav_ops.payloads.ai_seo import GenerateSeo
from teknav_ops.payloads.analytics_process import ProcessEvents
from teknav_ops.payloads.analytics_snapshot import SnapshotDashboard
from teknav_ops.payloads.base import Payload
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.payloads.exact import exact
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.payloads.otp_send import SendOtp
from teknav_ops.payloads.plugins_execute import ExecutePlugin
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.payloads.webhooks_deliver import DeliverWebhook
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.retry_policies import (
    AI_RETRY,
    CODE_RETRY,
    DAY_MS,
    MAIL_RETRY,
    MINUTE_MS,
    WEBHOOK_RETRY,
    RetryPolicy,
)

_Known = TypeVar("_Known")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `count` jobs are handed out per `period_ms`, over all workers."""

    count: int
    period_ms: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue: its jobs, its limits and its failure policy.

    `concurrency` is per worker process; `global_concurrency`, where set, is over all of them.
    Both, and `rate_limit`, can be changed while running (`control.py`); these are the defaults.
    """

    name: str
    purpose: str
    jobs: Mapping[str, type[Payload]]
    #: What a replay of a job that had done part of its work may do twice: read before a batch is replayed.
    effects: str = ""
    concurrency: int = 8
    global_concurrency: int | None = None
    rate_limit: RateLimit | None = None
    retry: RetryPolicy = RetryPolicy()
    time_limit_ms: int = MINUTE_MS
    idempotency_ms: int = DAY_MS
    completed_kept: int = 1_000
    failed_kept: int = 5_000
    cancelled_kept: int = 1_000

    @property
    def dlq_name(self) -> str:
        """Name of the paired dead-letter queue."""
        return f"{self.name}:dlq"

    def payload_of(self, job: str) -> type[Payload]:
        """The payload model of a job this queue carries.

        Raises:
            UnknownJob: names the jobs that the queue does carry.
        """
        model = _find(self.jobs, job)
        if model is None:
            raise UnknownJob(f"job: {self.name} carries no {_quoted(job)}; it carries {', '.join(sorted(self.jobs))}")
        return model


class Topology(Mapping[str, Queue]):
    """The queues by name, in the catalogue's order."""

    def __init__(self, *queues: Queue) -> None:
        self._queues = MappingProxyType({queue.name: queue for queue in queues})
        self._queue_of_job = {job: queue for queue in queues for job in queue.jobs}

    def __getitem__(self, name: str) -> Queue:
        queue = _find(self._queues, name)
        if queue is None:
            raise UnknownQueue(f"queue: no {_quoted(name)}; there are {', '.join(self._queues)}")
        return queue

    def declared(self, name: str) -> Queue:
        """The queue of this name; one that is not in the catalogue carries no jobs of ours."""
        # Not Mapping's own `get`: what `__getitem__` raises is no KeyError.
        return self._queues.get(name) or Queue(name=name, purpose="Not in the topology.", jobs={})

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)

    def __contains__(self, name: object) -> bool:
        return name in self._queues

    def queue_carrying(self, job: str) -> Queue:
        """The queue that carries a job of this name (job names are unique across queues)."""
        queue = _find(self._queue_of_job, job)
        if queue is None:
            raise UnknownJob(f"job: no queue carries {_quoted(job)}")
        return queue


def _find(known: Mapping[str, _Known], name: object) -> _Known | None:
    """What is known by a name that somebody gave, which may be anything."""
    text = _text_of(name)
    return None if text is None else known.get(text)


def _text_of(name: object) -> str | None:
    try:
        text = exact(name)
    except Exception:
        return None
    return text if type(text) is str else None


def _quoted(name: object) -> str:
    text = _text_of(name)
    return f"name of type {type(name).__name__}" if text is None else repr(text[:100])


def purpose_of(payload: type[Payload]) -> str:
    """The first line of a payload's docstring."""
    return (inspect.getdoc(payload) or "").partition("\n")[0]


TOPOLOGY = Topology(
    Queue(
        name="ai:content",
        purpose="Write drafts, summaries, translations and better versions of articles.",
        effects="A model may be asked, and paid for, a second time. The draft or version is written once.",
        jobs={
            "generate-draft": GenerateDraft,
            "generate-summary": GenerateSummary,
            "translate": Translate,
            "enhance-content": EnhanceContent,
        },
        concurrency=4,
        retry=AI_RETRY,
        time_limit_ms=10 * MINUTE_MS,
    ),
    Queue(
        name="ai:seo",
        purpose="Write what search engines show of an article.",
        effects="A model may be asked, and paid for, a second time. The article is changed once.",
        jobs={"generate-seo": GenerateSeo},
        concurrency=4,
        retry=AI_RETRY,
        time_limit_ms=6 * MINUTE_MS,
    ),
    Queue(
        name="ai:review",
        purpose="Measure and review articles.",
        effects="A model may be asked, and paid for, a second time. The report is written once.",
        jobs={"review-article": ReviewArticle},
        concurrency=4,
        retry=AI_RETRY,
        time_limit_ms=6 * MINUTE_MS,
    ),
    Queue(
        name="workflows:run",
        purpose="Run the platform's own procedures, step by step.",
        effects="Steps that are done stay done; the failed one and those after it run again.",
        jobs={"run-workflow": RunWorkflow},
        concurrency=8,
        time_limit_ms=5 * MINUTE_MS,
    ),
    Queue(
        name="plugins:execute",
        purpose="Run plugins in their sandbox.",
        effects="The plugin runs again. What it kept is written once; what it sent to other hosts may be sent twice.",
        jobs={"execute-plugin": ExecutePlugin},
        concurrency=4,
        time_limit_ms=MINUTE_MS,
    ),
    Queue(
        name="analytics:process",
        purpose="Count what readers do.",
        effects="None: the same events count once.",
        jobs={"process-events": ProcessEvents},
        concurrency=2,
        time_limit_ms=10 * MINUTE_MS,
    ),
    Queue(
        name="analytics:snapshot",
        purpose="Compute the platform's dashboard in advance.",
        effects="None: the dashboard is computed anew.",
        jobs={"snapshot-dashboard": SnapshotDashboard},
        concurrency=1,
        global_concurrency=2,
        time_limit_ms=2 * MINUTE_MS,
    ),
    Queue(
        name="email:send",
        purpose="Deliver mails.",
        effects="A mail whose delivery was not confirmed may arrive twice, with the same Message-ID.",
        jobs={"send-email": SendEmail},
        concurrency=8,
        retry=MAIL_RETRY,
        time_limit_ms=2 * MINUTE_MS,
    ),
    Queue(
        name="otp:send",
        purpose="Deliver one-time codes.",
        effects="A code whose delivery was not confirmed may arrive twice; expired codes are not sent.",
        jobs={"send-otp": SendOtp},
        concurrency=8,
        retry=CODE_RETRY,
        time_limit_ms=MINUTE_MS,
    ),
    Queue(
        name="webhooks:deliver",
        purpose="Deliver events to other people's servers.",
        effects="A receiver may get the event twice, with the same webhook-id.",
        jobs={"deliver-webhook": DeliverWebhook},
        concurrency=8,
        retry=WEBHOOK_RETRY,
        time_limit_ms=MINUTE_MS,
    ),
    Queue(
        name="media:optimize",
        purpose="Turn uploaded images into web-sized variants.",
        effects="None: the same variants are made under the same names.",
        jobs={"optimize-image": OptimizeImage},
        concurrency=2,
        time_limit_ms=5 * MINUTE_MS,
    ),
    Queue(
        name="search:index",
        purpose="Keep what readers can find up to date.",
        effects="None: the newest text wins.",
        jobs={"index-article": IndexArticle},
        concurrency=4,
        time_limit_ms=2 * MINUTE_MS,
    ),
)
