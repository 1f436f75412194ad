"""Producer: how jobs are enqueued, from a script, FastAPI or Django, without starting workers.

producer = Producer.from_settings(get_settings())
job = producer.enqueue_media_optimize(file_id=7, idempotency_key="file-7-v1")
job.job_id, job.is_new
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Self

from teknav_ops.access.actors import check_actor
from teknav_ops.engine.job_options import checked_key, checked_list, checked_priority, checked_trace_id, delay_ms
from teknav_ops.engine.submission import require_no_conflict, submit
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.identifiers import new_job_id, new_trace_id
from teknav_ops.payloads import codec
from teknav_ops.payloads.merging import merged
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.redis_state.scripts import Accepted, NewJob, ScriptRunner
from teknav_ops.redis_url import find_redis_url
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.telemetry import Origin, new_origin, require_telemetry, sending
from teknav_ops.topology import TOPOLOGY, Queue, Topology


class Enqueue:
    """Enqueues one kind of job: its payload as a mapping, as fields, or both, and the options of `Producer.enqueue`."""

    def __init__(self, producer: Producer, queue: str, job: str) -> None:
        self._producer = producer
        self._queue = queue
        self._job = job

    def __call__(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        delay: timedelta | float | None = None,
        priority: int = 0,
        trace_id: str | None = None,
        **fields: Any,
    ) -> Accepted:
        """Enqueue one job. Raises as `Producer.enqueue`."""
        return self._producer.enqueue(
            self._queue, self._job, merged(data, fields), idempotency_key=idempotency_key, delay=delay,
            priority=priority, trace_id=trace_id,
        )  # fmt: skip


class _Named:
    """A job by the name that the platform's code calls it."""

    def __init__(self, queue: str, job: str) -> None:
        self._place = (queue, job)

    def __get__(self, producer: Producer, _: type | None = None) -> Enqueue:
        return Enqueue(producer, *self._place)


class Producer:
    """Validates, seals and enqueues. Thread-safe; one per process is enough."""

    def __init__(
        self,
        client: Client,
        *,
        cipher: codec.Cipher,
        topology: Topology = TOPOLOGY,
        actor: str = "producer",
        payload_limit_bytes: int = 256 * 1024,
        timeout_seconds: float = 10.0,
        telemetry: bool = False,
        admit: Callable[[Queue, int], None] | None = None,
    ) -> None:
        self._runner = ScriptRunner(client)
        self._cipher = cipher
        self._topology = topology
        check_actor(actor)
        self._actor = actor
        self._payload_limit_bytes = payload_limit_bytes
        self._timeout_seconds = timeout_seconds
        #: Asked before so many jobs are written to a queue; raises where that is not allowed.
        self._admit = admit
        #: A span around each enqueue, where the application has set up an OpenTelemetry SDK.
        self._telemetry = telemetry
        if telemetry:
            require_telemetry()

    @classmethod
    def from_settings(cls, settings: Settings, *, actor: str = "producer") -> Self:
        """A producer on the Redis that the settings name."""
        client = connect(find_redis_url(settings), timeout_seconds=settings.redis_timeout_seconds)
        return cls(
            client,
            cipher=codec.Cipher(cipher_keys(settings)),
            actor=actor,
            payload_limit_bytes=settings.payload_limit_bytes,
            timeout_seconds=settings.producer_timeout_seconds,
            telemetry=settings.telemetry,
        )

    def enqueue(
        self,
        queue: str,
        job: str,
        data: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        delay: timedelta | float | None = None,
        priority: int = 0,
        trace_id: str | None = None,
    ) -> Accepted:
        """Enqueue one job; says its id and whether it is new.

        `delay` is a timedelta or seconds. `priority` runs from -9 (first) to 9 (last). A used
        `idempotency_key` makes no second job for 24 h: the first one's id comes back, and another job or payload is
        refused. Cancelling the job, or deleting its dead letter, frees the key.

        Raises:
            UnknownQueue, UnknownJob, InvalidPayload, PayloadTooLarge, InvalidRequest: nothing was written.
            IdempotencyConflict: the key was used for another request; nothing was written.
            RedisUnavailable: Redis did not answer in time.
        """
        known = self._topology[queue]
        with self._sending(known, job, trace_id) as origin:
            new_job = self._build(
                known, job, data, checked_key(idempotency_key), delay_ms(delay), checked_priority(priority), origin
            )
            return self._submit(known, [new_job])[0]

    def enqueue_many(
        self,
        queue: str,
        job: str,
        items: Iterable[Mapping[str, Any]],
        *,
        idempotency_keys: Iterable[str | None] | None = None,
        delay: timedelta | float | None = None,
        priority: int = 0,
        trace_id: str | None = None,
        all_or_none: bool = False,
    ) -> list[Accepted]:
        """Enqueue jobs of one kind, a thousand per round trip. All are validated before the first is written.

        `idempotency_keys` are as many as the items and in their order, None for those that have none; each works as in
        `enqueue`. With `all_or_none` they are looked at before the first job is written.

        Raises:
            IdempotencyConflict: of the first key that was used for another request; the other jobs were written, with
                `all_or_none` only where that happened at this very moment.
            InvalidRequest: with `all_or_none` also where two items that differ have one key.
        """
        known = self._topology[queue]
        payloads = checked_list(items, "items")
        wanted = [None] * len(payloads) if idempotency_keys is None else idempotency_keys
        keys = [
            checked_key(key, name=f"idempotency_keys: item {number}")
            for number, key in enumerate(checked_list(wanted, "idempotency_keys"))
        ]
        if len(keys) != len(payloads):
            raise InvalidRequest(f"idempotency_keys: {len(keys):,} keys for {len(payloads):,} items; give one each")
        waits_ms, rank = delay_ms(delay), checked_priority(priority)
        with self._sending(known, job, trace_id) as origin:
            jobs = [
                self._build(known, job, data, key, waits_ms, rank, origin, where=f"item {index}")
                for index, (data, key) in enumerate(zip(payloads, keys, strict=True))
            ]
            if all_or_none:
                require_no_conflict(self._runner, known, jobs, self._cipher, timeout_seconds=self._timeout_seconds)
            return self._submit(known, jobs)

    def enqueue_ai_content(
        self, job: str, data: Mapping[str, Any] | None = None, /, **options_and_fields: Any
    ) -> Accepted:
        """Have a text written: generate-draft, generate-summary, translate or enhance-content. Takes the options of
        `enqueue` (idempotency_key, delay, priority, trace_id); all others are fields of the payload.
        """
        return Enqueue(self, "ai:content", job)(data, **options_and_fields)

    #: Set what search engines show of an article (GenerateSeo).
    enqueue_ai_seo = _Named("ai:seo", "generate-seo")
    #: Have an article measured and reviewed (ReviewArticle).
    enqueue_ai_review = _Named("ai:review", "review-article")
    #: Take in readers' events and count them (ProcessEvents).
    enqueue_analytics_process = _Named("analytics:process", "process-events")
    #: Compute the platform's dashboard (SnapshotDashboard).
    enqueue_analytics_snapshot = _Named("analytics:snapshot", "snapshot-dashboard")
    #: Make the web-sized copies of one uploaded image (OptimizeImage).
    enqueue_media_optimize = _Named("media:optimize", "optimize-image")
    #: Bring an article up to date in the search index (IndexArticle).
    enqueue_search_index = _Named("search:index", "index-article")
    #: Deliver a one-time code (SendOtp).
    enqueue_otp = _Named("otp:send", "send-otp")
    #: Deliver an event to one webhook endpoint (DeliverWebhook); `publish_event` delivers it to all that ask for it.
    enqueue_webhook = _Named("webhooks:deliver", "deliver-webhook")
    #: Run a plugin on an event (ExecutePlugin).
    enqueue_plugin = _Named("plugins:execute", "execute-plugin")
    #: Run a workflow (RunWorkflow).
    enqueue_workflow = _Named("workflows:run", "run-workflow")
    #: Deliver one mail (SendEmail).
    enqueue_email = _Named("email:send", "send-email")

    # As earlier versions called them.
    enqueue_otp_send, enqueue_webhooks_deliver, enqueue_email_send = enqueue_otp, enqueue_webhook, enqueue_email
    enqueue_plugins_execute, enqueue_workflows_run = enqueue_plugin, enqueue_workflow

    @contextlib.contextmanager
    def _sending(self, queue: Queue, job: str, trace_id: str | None) -> Iterator[Origin | None]:
        trace = checked_trace_id(trace_id)
        queue.payload_of(job)
        if not self._telemetry:
            yield None if trace is None else new_origin(trace)
            return
        with sending(queue.name, job, trace_id=trace) as origin:
            yield origin

    def _submit(self, queue: Queue, jobs: list[NewJob]) -> list[Accepted]:
        if self._admit is not None:
            self._admit(queue, len(jobs))
        return submit(
            self._runner, queue, jobs, cipher=self._cipher, actor=self._actor, timeout_seconds=self._timeout_seconds
        )

    def _build(
        self,
        queue: Queue,
        job: str,
        data: Mapping[str, Any],
        idempotency_key: str,
        waits_ms: int,
        priority: int,
        origin: Origin | None,
        where: str = "",
    ) -> NewJob:
        place = f"{queue.name} {job}" + (f" {where}" if where else "")
        payload = codec.validate(queue.payload_of(job), data, where=place)
        # Jobs that are no part of anything larger have a trace each.
        origin = origin or new_origin(new_trace_id())
        envelope = {"options": {"traceparent": origin.traceparent}}
        holder = codec.Holder(queue.name, job, new_job_id())
        return NewJob(
            id=holder.job_id,
            name=job,
            payload=codec.seal(payload, self._cipher, holder, limit_bytes=self._payload_limit_bytes),
            options=json.dumps(envelope, separators=(",", ":")),
            idempotency_key=idempotency_key,
            delay_ms=waits_ms,
            priority=priority,
            trace_id=origin.trace_id,
        )
