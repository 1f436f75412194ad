"""JobMessage: a delivered job as Dramatiq's worker sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dramatiq import Message
from dramatiq.broker import MessageProxy

from teknav_ops.engine.outcome import Outcome
from teknav_ops.errors import CorruptRecord
from teknav_ops.jobs.sketch import bucket
from teknav_ops.payloads import codec, plain
from teknav_ops.payloads.base import Payload
from teknav_ops.redis_state.scripts import Delivery, Run

if TYPE_CHECKING:
    from teknav_ops.engine.lane import Lane


class JobMessage(MessageProxy):
    """A Dramatiq message with its delivery, and what the middleware learns on the way.

    `order` is the validated payload, `secrets` its secret values (to redact), `outcome` the
    verdict that will be committed.
    """

    def __init__(self, message: Message[Any], lane: Lane, delivery: Delivery) -> None:
        super().__init__(message)
        self.lane = lane
        self.delivery = delivery
        self.order: Payload | None = None
        self.secrets: frozenset[str] = frozenset()
        self.outcome: Outcome | None = None
        #: What the run returned, as JSON; '' for nothing.
        self.result = ""
        self.started_at_ms = 0
        self._started = 0.0
        #: Called by the run's thread as soon as the run has ended, so that nothing is raised in it afterwards.
        self.at_end: list[Callable[[], None]] = []

    def __str__(self) -> str:
        """Dramatiq writes messages into its log lines: what a payload holds stands in none."""
        return f"{self.delivery.name} {self.delivery.id}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @property
    def attempt(self) -> int:
        """Which attempt of this life this run is, from 1."""
        return self.delivery.attempts + 1

    @property
    def exception(self) -> BaseException | None:
        """What the run raised, if it did."""
        return self._exception

    def log_facts(self) -> dict[str, Any]:
        """What every log line of this run says."""
        return {
            "job_id": self.delivery.id,
            "queue": self.lane.queue.name,
            "job": self.delivery.name,
            "attempt": self.attempt,
            "delivery": self.delivery.delivery,
            "trace_id": self.delivery.trace_id,
        }

    def begin(self) -> None:
        """Start the run's clock; waiting for a thread is not part of its duration."""
        self.started_at_ms = int(time.time() * 1000)
        self._started = time.perf_counter()

    def end(self) -> None:
        """The run is over. To be called where what is raised in the thread still counts as the run's: any later, and
        Dramatiq's thread would end of it.
        """
        for call in self.at_end:
            call()

    def run_facts(self) -> Run:
        """The run as it will be recorded; its duration ends now."""
        if not self.started_at_ms:
            # Set aside before it was begun.
            self.begin()
        duration_ms = round((time.perf_counter() - self._started) * 1000, 3)
        return Run(self.delivery.id, self.delivery.delivery, self.started_at_ms, duration_ms, bucket(duration_ms))


def encode_envelope(message: Message[Any]) -> str:
    """What a message carries beside its payload, as stored: '' when there is nothing. Raises InvalidPayload."""
    envelope: dict[str, Any] = {}
    if message.args:
        envelope["args"] = message.args
    if message.options:
        envelope["options"] = message.options
    return codec.dump(envelope, where=message.actor_name) if envelope else ""


def decode_message(queue: str, delivery: Delivery) -> Message[Any]:
    """The message behind a delivery.

    Raises:
        CorruptRecord: when payload or envelope are not the JSON objects that were written.
    """
    try:
        kwargs = plain.read(delivery.payload or "")
        envelope = plain.read(delivery.options) if delivery.options else {}
        return Message(
            queue_name=queue,
            actor_name=delivery.name,
            args=tuple(envelope.get("args", ())),
            kwargs={**kwargs},
            # By `eta` Dramatiq would put the message back by itself; delays are the queue's.
            options={name: value for name, value in envelope.get("options", {}).items() if name != "eta"},
            message_id=delivery.id,
            message_timestamp=delivery.enqueued_at_ms,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptRecord(f"the stored message cannot be read: {type(error).__name__}: {error}") from error
