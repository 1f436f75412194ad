"""The consumer: hands a queue's jobs to Dramatiq's worker threads, and their outcomes to the finisher."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy

from teknav_ops.engine.delivery import JobMessage, decode_message
from teknav_ops.engine.lane import SUSPECT_AFTER_LOSSES, Lane
from teknav_ops.engine.outcome import Complete, GiveUp
from teknav_ops.errors import CorruptRecord, TransientError
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.redis_state.scripts import Delivery

if TYPE_CHECKING:
    from teknav_ops.engine.broker import TekNavBroker

log = structlog.get_logger("teknav.engine")

_OUTAGE_PAUSE_SECONDS: Final = 0.5
#: While the process ends its running jobs, Dramatiq asks again at once.
_CLOSING_PAUSE_SECONDS: Final = 0.05
#: Dramatiq gets an answer after so many of its timeouts, though there is none: hundreds of idle consumers would keep a
#: core busy with nothing else.
_PATIENCE: Final = 10
_FLUSH_SECONDS: Final = 10.0


class JobConsumer(Consumer):
    """Iterates over one queue. Waits at the process's waiter while there is nothing to do."""

    def __init__(self, broker: TekNavBroker, lane: Lane, timeout_ms: int) -> None:
        self._broker = broker
        self._lane = lane
        self._timeout_seconds = timeout_ms / 1000 * _PATIENCE
        self._was_unreachable = False

    def __next__(self) -> MessageProxy | None:
        """The next job, or None when none could be handed over within the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        desk, lane = self._broker.desk, self._lane
        while not desk.is_closing.is_set() and desk.reserve(lane, deadline - time.monotonic()):
            message = self._take_for_place()
            if message is not None:
                return message
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._wait_for_work(left)
        if desk.is_closing.is_set():
            time.sleep(_CLOSING_PAUSE_SECONDS)
        return None

    def _take_for_place(self) -> MessageProxy | None:
        """A job for the place that was reserved. Without one the place is free again, whatever Redis answered.

        Else each refusal would cost a place, until none is left.
        """
        message = None
        try:
            message = self._take()
        except OUTAGE_ERRORS as error:
            self._note_outage(error)
        finally:
            if message is None:
                self._broker.desk.give_back(self._lane)
        return message

    def _take(self) -> MessageProxy | None:
        message = self._take_buffered()
        if message is None and self._lane.may_have_work():
            self._fetch()
            message = self._take_buffered()
        return message

    def _take_buffered(self) -> MessageProxy | None:
        while True:
            delivery = self._next_buffered()
            if delivery is None:
                return None
            if delivery.lost >= SUSPECT_AFTER_LOSSES and not self._broker.desk.try_suspect(delivery):
                # Another queue's consumer was given one at the same moment.
                self._broker.release(self._lane, [(delivery.id, delivery.delivery)])
                continue
            message = self._open_or_let_go(delivery)
            if message is not None:
                return message

    def _next_buffered(self) -> Delivery | None:
        try:
            return self._lane.buffer.popleft()
        except IndexError:
            # The lease keeper has just found that all of them are lost.
            return None

    def _fetch(self) -> None:
        lane, broker = self._lane, self._broker
        rate = lane.queue.rate_limit
        # Before it is asked: who rings meanwhile is heard.
        lane.bell.clear()
        call = scripts.fetch(
            lane.keys,
            count=broker.desk.fetch_count(lane),
            lease_ms=broker.lease_ms,
            worker=broker.worker_id,
            global_concurrency=lane.queue.global_concurrency or 0,
            rate_count=rate.count if rate else 0,
            rate_period_ms=rate.period_ms if rate else 0,
            suspect_losses=SUSPECT_AFTER_LOSSES,
            # One at a time, and this process holds back none that another could take.
            suspects=0 if broker.desk.has_suspect else 1,
        )
        try:
            with broker.desk.fetching() as may_fetch:
                if may_fetch:
                    lane.take_in(broker.runner.run(call))
        except BaseException:
            lane.bell.set()
            raise
        if self._was_unreachable:
            self._was_unreachable = False
            log.info("redis.reachable", queue=lane.queue.name)

    def _open_or_let_go(self, delivery: Delivery) -> JobMessage | None:
        try:
            return self._open(delivery)
        except OUTAGE_ERRORS:
            raise
        except BaseException:
            # Nobody here will run it: its lease runs out, and another may begin.
            self._lane.let_go(delivery.id, delivery.delivery)
            self._broker.desk.clear(delivery)
            raise

    def _open(self, delivery: Delivery) -> JobMessage | None:
        """The delivery as a message; one that cannot be read, or is no longer ours, ends here."""
        if delivery.lost and not self._mark_started(delivery):
            self._lane.let_go(delivery.id, delivery.delivery)
            return None
        try:
            return JobMessage(decode_message(self._lane.queue.name, delivery), self._lane, delivery)
        except CorruptRecord as error:
            self._set_aside(delivery, error)
            return None

    def _mark_started(self, delivery: Delivery) -> bool:
        """Whether the job may be begun; where it may not, another suspect may."""
        call = scripts.mark_started(self._lane.keys, job_id=delivery.id, delivery=delivery.delivery)
        is_ours = False
        try:
            is_ours = self._broker.runner.run(call)
        except OUTAGE_ERRORS:
            # It is still ours, and would never be begun if it were not in its place when the outage is over.
            self._lane.buffer.appendleft(delivery)
            raise
        finally:
            if not is_ours:
                self._broker.desk.clear(delivery)
        return is_ours

    def _set_aside(self, delivery: Delivery, error: CorruptRecord) -> None:
        blank: Message[Any] = Message(
            queue_name=self._lane.queue.name, actor_name=delivery.name, args=(), kwargs={}, options={},
            message_id=delivery.id,
        )  # fmt: skip
        message = JobMessage(blank, self._lane, delivery)
        message.outcome = GiveUp(error)
        log.error("job.corrupt", queue=self._lane.queue.name, job_id=delivery.id, error=str(error))
        # `submit` gives a place back; this job took none of its own.
        self._broker.desk.occupy(self._lane)
        self._broker.finisher.submit(message)

    def _wait_for_work(self, left_seconds: float) -> None:
        """Until someone rings, something is due, or time is up."""
        lane = self._lane
        if lane.due_at is not None:
            left_seconds = min(left_seconds, lane.due_at - time.monotonic())
        if left_seconds > 0:
            self._broker.waiter.wait(lane, left_seconds)

    def _note_outage(self, error: Exception) -> None:
        if not self._was_unreachable:
            self._was_unreachable = True
            log.warning("redis.unreachable", queue=self._lane.queue.name, error=str(error))
        self._broker.desk.is_closing.wait(_OUTAGE_PAUSE_SECONDS)

    def ack(self, message: MessageProxy) -> None:
        """Hand in the outcome; the middleware has decided it."""
        assert isinstance(message, JobMessage)
        if message.outcome is None:
            message.outcome = self._default_outcome(message)
        self._broker.finisher.submit(message)

    def nack(self, message: MessageProxy) -> None:
        """Dramatiq rejects: the same path, since the outcome already says so."""
        assert isinstance(message, JobMessage)
        if message.outcome is None or isinstance(message.outcome, Complete):
            message.outcome = GiveUp(message.exception or TransientError("the job was rejected"))
        self._broker.finisher.submit(message)

    def _default_outcome(self, message: JobMessage) -> Complete | GiveUp:
        # Dramatiq swallows what a middleware raises; a failure whose verdict got lost must not pass as success.
        if message.exception is not None:
            return GiveUp(message.exception)
        return Complete(message.result)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Shutdown: jobs no thread has begun go back unharmed."""
        unstarted = [message.delivery for message in messages if isinstance(message, JobMessage)]
        for delivery in unstarted:
            self._broker.desk.clear(delivery)
            self._broker.desk.give_back(self._lane)
        self._release(unstarted)

    def close(self) -> None:
        """Commit what is finished; at shutdown give back everything still held."""
        if not self._broker.finisher.flush(_FLUSH_SECONDS):
            log.error("finish.unflushed", queue=self._lane.queue.name)
        buffered = list(self._lane.buffer)
        self._lane.buffer.clear()
        self._release(buffered)
        if self._broker.desk.is_closing.is_set():
            self._release_held()

    def _release(self, deliveries: list[Delivery]) -> None:
        self._give_up_leases([(delivery.id, delivery.delivery) for delivery in deliveries])

    def _release_held(self) -> None:
        # What still runs after the grace period dies with the process: let another begin it now.
        self._give_up_leases(list(self._lane.held.items()))

    def _give_up_leases(self, held: list[tuple[str, int]]) -> None:
        self._broker.release(self._lane, held)
