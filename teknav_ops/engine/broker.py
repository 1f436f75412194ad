"""TekNavBroker: Dramatiq's broker on Redis, with one script per state change."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import structlog
from dramatiq import Broker, Message
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import Interrupt, Middleware, MiddlewareError
from redis.exceptions import RedisError

from teknav_ops.engine.connections import Connections
from teknav_ops.engine.consumer import JobConsumer
from teknav_ops.engine.delivery import JobMessage, encode_envelope
from teknav_ops.engine.finisher import Finisher
from teknav_ops.engine.job_options import check_message_options, checked_key, milliseconds
from teknav_ops.engine.lane import Desk, Lane
from teknav_ops.engine.lease_keeper import LeaseKeeper
from teknav_ops.engine.submission import submit
from teknav_ops.engine.waiter import Waiter, longest_block_seconds
from teknav_ops.payloads import codec
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import NewJob, ScriptRunner
from teknav_ops.topology import Queue, Topology

log = structlog.get_logger("teknav.engine")

_JOIN_POLL_SECONDS: Final = 0.02
_FLUSH_COUNT: Final = 500


class TekNavBroker(Broker):
    """Queues of the topology get their limits from it; any other declared queue gets the defaults.

    Threads and connections are made at the first use, so the broker may be built before a fork.
    """

    def __init__(
        self,
        connect: Callable[..., Client],
        topology: Topology,
        *,
        cipher: codec.Cipher,
        middleware: list[Middleware],
        lease_seconds: float = 30.0,
        lost_worker_limit: int = 3,
        payload_limit_bytes: int = 256 * 1024,
        producer_timeout_seconds: float = 10.0,
    ) -> None:
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        super().__init__(middleware)
        self._connections = Connections(connect)
        self._starting = threading.RLock()
        self.client = self._connections.shared
        self.topology = topology
        self.cipher = cipher
        self.runner = ScriptRunner(self.client)
        self.lease_ms = int(lease_seconds * 1000)
        self.desk = Desk()
        self._lanes: dict[str, Lane] = {}
        self._lost_worker_limit = lost_worker_limit
        self._payload_limit_bytes = payload_limit_bytes
        self._producer_timeout_seconds = producer_timeout_seconds
        self._tick_seconds = 1.0
        self.queues: dict[str, Queue] = {}

    @cached_property
    def worker_id(self) -> str:
        """`host:pid`, as shown on records and in the workers view."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @cached_property
    def finisher(self) -> Finisher:
        """Commits outcomes; one per process."""
        return Finisher(self._connections.own_runner(), self.desk, self.worker_id)

    @cached_property
    def lease_keeper(self) -> LeaseKeeper:
        """Heartbeat and reclaiming; one per process."""
        runner = self._connections.own_runner()
        limits = {"lease_ms": self.lease_ms, "lost_limit": self._lost_worker_limit}
        return LeaseKeeper(runner, self._lanes, self.desk, self.cipher.keys.ids, worker=self.worker_id, **limits)

    @cached_property
    def waiter(self) -> Waiter:
        """Where idle consumers wait; one per process."""
        client = self._connections.waiting(longest_block_seconds(self.client, self._tick_seconds))
        return Waiter(client, self.runner, self.desk, tick_seconds=self._tick_seconds)

    # Hooks: as Dramatiq emits them, without visiting the middleware that does not listen -----------

    def add_middleware(self, middleware: Middleware, **position: Any) -> None:
        """Add a middleware; see dramatiq.Broker."""
        self._hooks.clear()
        super().add_middleware(middleware, **position)

    def _listeners(self, hook: str) -> list[Callable[..., None]]:
        listeners = self._hooks.get(hook)
        if listeners is None:
            silent = getattr(Middleware, hook)
            listeners = [getattr(m, hook) for m in self.middleware if getattr(type(m), hook) is not silent]
            self._hooks[hook] = listeners
        return listeners

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Emit to listeners in order; a MiddlewareError stops what was about to happen."""
        if signal == "process_message" and isinstance(args[0], JobMessage):
            args[0].begin()
        for listener in self._listeners("before_" + signal):
            try:
                listener(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                self.logger.critical("Unexpected failure in before_%s.", signal, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Emit to listeners in reverse order. Nothing stops what has happened, not even a time limit that comes now."""
        for listener in reversed(self._listeners("after_" + signal)):
            try:
                listener(self, *args, **kwargs)
            except (Exception, Interrupt):
                self.logger.critical("Unexpected failure in after_%s.", signal, exc_info=True)

    # Queues ----------------------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; idempotent. Delays need no queue of their own here."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = self.topology.declared(queue_name)
            self.emit_after("declare_queue", queue_name)

    def _declared(self, queue_name: str) -> Queue:
        try:
            return self.queues[queue_name]
        except KeyError:
            raise QueueNotFound(queue_name) from None  # type: ignore[no-untyped-call]

    def lane(self, queue_name: str) -> Lane:
        """This process's lane of a declared queue."""
        queue = self._declared(queue_name)
        with self._starting:
            if queue_name not in self._lanes:
                self._lanes[queue_name] = self.desk.admitted(Lane(queue))
            return self._lanes[queue_name]

    # Work ------------------------------------------------------------------------------------------

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Accept a message, validated and sealed where the topology knows its job.

        Raises:
            QueueNotFound: the queue was never declared.
            InvalidPayload, InvalidRequest: the payload does not fit its model; an option is wrong.
            IdempotencyConflict: the message's idempotency key was used for another.
            RedisUnavailable: Redis did not answer in time.
        """
        queue = self._declared(message.queue_name)
        wait_ms = milliseconds(delay)
        check_message_options(message.options)
        self.emit_before("enqueue", message, delay)
        job = NewJob(
            id=message.message_id,
            name=message.actor_name,
            payload=self._seal(queue, message),
            options=encode_envelope(message),
            idempotency_key=checked_key(message.options.get("idempotency_key")),
            delay_ms=wait_ms,
            trace_id=str(message.options.get("traceparent", ""))[3:35],
        )
        submit(self.runner, queue, [job], cipher=self.cipher, actor="", timeout_seconds=self._producer_timeout_seconds)
        self.emit_after("enqueue", message, delay)
        return message

    def _seal(self, queue: Queue, message: Message[Any]) -> str:
        if message.actor_name not in queue.jobs:
            return codec.dump(message.kwargs, where=f"{queue.name} {message.actor_name}")
        model = queue.jobs[message.actor_name]
        payload = codec.validate(model, message.kwargs, where=f"{queue.name} {message.actor_name}")
        holder = codec.Holder(queue.name, message.actor_name, message.message_id)
        return codec.seal(payload, self.cipher, holder, limit_bytes=self._payload_limit_bytes)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> JobConsumer:
        """A consumer of the queue. `prefetch` is not used: the lane decides by concurrency and duration."""
        lane = self.lane(queue_name)
        # Consumers begin side by side; each part is made once.
        with self._starting:
            self._tick_seconds = timeout / 1000
            _ = self.finisher, self.lease_keeper, self.waiter
        return JobConsumer(self, lane, timeout)

    def release(self, lane: Lane, held: Sequence[tuple[str, int]]) -> bool:
        """Give jobs of a lane back, as (job id, delivery): another may begin them now. Whether Redis answered."""
        for job_id, delivery in held:
            lane.let_go(job_id, delivery)
        try:
            _ = held and self.runner.run(scripts.release(lane.keys, held=held))
        except OUTAGE_ERRORS as error:
            log.warning("release.failed", error=str(error), job_count=len(held))
            return False
        except RedisError as error:
            log.error("release.refused", queue=lane.queue.name, error=str(error), job_count=len(held))
        return True

    def release_all(self, *, but: Collection[tuple[str, int]] = ()) -> None:
        """Give back all that this process holds, except these, for as long as Redis takes it."""
        lanes = list(self._lanes.values())
        all(self.release(lane, [pair for pair in list(lane.held.items()) if pair not in but]) for lane in lanes)

    def close(self) -> None:
        """Stop this process's engine threads and drop its connections."""
        self.desk.close()
        for part in ("waiter", "lease_keeper", "finisher"):
            if part in self.__dict__:
                self.__dict__.pop(part).close()
        self._connections.close()

    # For tests and maintenance, as Dramatiq has them -------------------------------------------------

    def flush(self, queue_name: str) -> None:
        """Drop the jobs of a queue that have not begun."""
        keys = QueueKeys(self._declared(queue_name).name)
        while self.runner.run(scripts.flush(keys, actor=self.worker_id, count=_FLUSH_COUNT)):
            pass

    def flush_all(self) -> None:
        """Drop the jobs of all declared queues that have not begun."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until a queue has nothing waiting, delayed or active.

        Raises:
            QueueJoinTimeout: when that took longer than `timeout` ms.
        """
        keys = QueueKeys(self._declared(queue_name).name)
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        while True:
            counts = self.runner.run(scripts.queue_counts(keys, heartbeat_ms=self.lease_ms))
            if not counts.waiting + counts.delayed + counts.active:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]
            time.sleep(_JOIN_POLL_SECONDS)

    def held_counts(self) -> Mapping[str, int]:
        """How many jobs this process holds, per queue."""
        return defaultdict(int, {name: len(lane.held) for name, lane in list(self._lanes.items())})
