"""A job that ends by itself just as its time limit comes: the limit strikes the run or nothing, never its thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from dramatiq.middleware import TimeLimitExceeded

from teknav_ops.engine.middleware.retry import Retries
from teknav_ops.engine.middleware.stuck_jobs import StuckJobs
from teknav_ops.engine.middleware.time_limit import TimeLimits
from teknav_ops.engine.processor import JobContext
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from tests.support.engine import Effects, Engine
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.topology import Work
from tests.support.waiting import until

QUEUE = "test:work"


class LimitWhileLogging(logging.Handler):
    """The limits of all that count as running come, in the moment in which Dramatiq logs how a run ended."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._limits = next(part for part in engine.broker.middleware if isinstance(part, TimeLimits))
        self._stuck = next(part for part in engine.broker.middleware if isinstance(part, StuckJobs))
        self.running: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(("Failed to process", "Message ")):
            return
        manager, watch = self._limits.manager, self._stuck._watch
        assert watch is not None
        with manager.mu:
            armed = {thread: 0.001 for thread, deadline in manager.deadlines.items() if deadline}
            manager.deadlines.update(armed)
        manager._handle_deadlines()
        self.running.append(len(watch._running))


@contextmanager
def limits_come(engine: Engine) -> Iterator[LimitWhileLogging]:
    log, handler = logging.getLogger("dramatiq.worker.WorkerThread"), LimitWhileLogging(engine)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def failing(engine: Engine, client: redis.Redis) -> None:
    def fail(job: Work, ctx: JobContext[None]) -> None:
        raise ValueError("by itself")

    engine.behaviour = fail
    State(client).enqueue()


def refused(engine: Engine, client: redis.Redis) -> None:
    State(client).enqueue(payload='{"number": "x"}')


def skipped(engine: Engine, client: redis.Redis) -> None:
    state = State(client)
    effects = next(part for part in engine.broker.middleware if type(part).__name__ == "Idempotency")._effects
    effects.recorded[state.enqueue()] = {}
    state.fetch(lease_ms=-1)


@pytest.mark.parametrize("job", [failing, refused, skipped])
def test_a_limit_that_comes_while_an_end_is_logged_strikes_nothing(
    redis_server: RedisServer, cipher: Cipher, client: redis.Redis, queries: JobQueries, job: object
) -> None:
    engine = Engine(redis_server.url, cipher, effects=Effects(), lease_seconds=1)
    job(engine, client)  # type: ignore[operator]
    with limits_come(engine) as limits, engine.working(threads=2) as worker:
        engine.broker.join(QUEUE, timeout=60_000)
        until(lambda: not engine.broker.held_counts()[QUEUE], what="the last commit")
        until(lambda: engine.broker.lane(QUEUE).handed_count == 0, what="the return of each place")
        assert all(thread.is_alive() for thread in worker.workers)

    counts = queries.counts(QUEUE)
    assert counts.completed + counts.failed == 1 and set(limits.running) == {0}
    engine.close()


def test_a_limit_that_comes_in_a_hook_after_the_run_leaves_the_thread_alive(
    engine: Engine, client: redis.Redis, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck(*_: object, **__: object) -> None:
        raise TimeLimitExceeded

    monkeypatch.setattr(Retries, "after_process_message", struck)
    failing(engine, client)
    with engine.working(threads=1) as worker:
        engine.broker.join(QUEUE, timeout=60_000)
        until(lambda: engine.broker.lane(QUEUE).handed_count == 0, what="the return of each place")
        assert worker.workers[0].is_alive()

    assert queries.counts(QUEUE).failed == 1
