"""Assembly: a broker from settings, and processors made into its actors."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import dramatiq
import structlog
from dramatiq.middleware import CurrentMessage

from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware import build_middleware
from teknav_ops.engine.middleware.idempotency import EffectLedger
from teknav_ops.engine.middleware.retry import Retries
from teknav_ops.engine.outcome import Postpone
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.engine.progress import ProgressReporter
from teknav_ops.engine.result import result_text
from teknav_ops.engine.stuck_jobs import Graces
from teknav_ops.errors import MissingProcessor, Throttled, TransientError
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import connect
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY, Topology

#: A snooze is no failure; Dramatiq would log each one with a stack trace.
_NO_FAILURES: Final = (Throttled,)


class JobActor(dramatiq.Actor[..., None]):
    """An actor that does not log the arguments of its calls: they are a payload."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the job."""
        return self.fn(*args, **kwargs)


def build_broker(
    settings: Settings, redis_url: str, *, effects: EffectLedger | None = None, topology: Topology = TOPOLOGY
) -> TekNavBroker:
    """A broker on `redis_url`. `effects` lets redelivered jobs whose effect is recorded be skipped."""
    cipher = Cipher(cipher_keys(settings))
    return TekNavBroker(
        partial(connect, redis_url, timeout_seconds=settings.redis_timeout_seconds),
        topology,
        cipher=cipher,
        middleware=build_middleware(
            topology,
            cipher=cipher,
            effects=effects,
            telemetry=settings.telemetry,
            audit_started=settings.audit_started,
            graces=Graces(settings.stuck_grace_seconds, settings.stuck_replace_seconds),
        ),
        lease_seconds=settings.lease_seconds,
        lost_worker_limit=settings.lost_worker_limit,
        payload_limit_bytes=settings.payload_limit_bytes,
        producer_timeout_seconds=settings.producer_timeout_seconds,
    )


def register(broker: TekNavBroker, processors: Iterable[Processor], services: Any) -> None:
    """Make each processor an actor of the queue that carries its job.

    Raises:
        MissingProcessor: when a job of the topology has none; workers must not start.
    """
    found = {processor.job: processor for processor in processors}
    missing = [f"{queue.name} {job}" for queue in broker.topology.values() for job in queue.jobs if job not in found]
    if missing:
        raise MissingProcessor(f"no processor for {', '.join(missing)}")
    for processor in found.values():
        _declare(broker, processor, services)


def _declare(broker: TekNavBroker, processor: Processor, services: Any) -> None:
    queue = broker.topology.queue_carrying(processor.job)
    log = structlog.get_logger(f"teknav.{queue.name}")
    retries = next(part for part in broker.middleware if isinstance(part, Retries))

    def perform(*args: Any, **kwargs: Any) -> None:
        message = CurrentMessage.get_current_message()
        if not isinstance(message, JobMessage) or message.order is None:
            # Dramatiq swallows a failing guard of its own accord; the job must not run unchecked.
            raise TransientError("the payload was not validated; the job was not begun")
        try:
            context = JobContext(
                job_id=message.delivery.id,
                queue=queue.name,
                name=processor.job,
                attempt=message.attempt,
                delivery=message.delivery.delivery,
                trace_id=message.delivery.trace_id,
                services=services,
                log=log,
                report_progress=ProgressReporter(broker.runner, message),
                is_last_try=lambda error: not isinstance(retries.verdict(broker, message, error), Postpone),
            )
            message.result = result_text(processor(message.order, context))
        finally:
            message.end()

    # Middleware writes each actor's defaults into its options: no two may share them.
    options: dict[str, Any] = {"throws": _NO_FAILURES}
    JobActor(perform, broker=broker, actor_name=processor.job, queue_name=queue.name, priority=0, options=options)
