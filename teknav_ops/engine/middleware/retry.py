"""Retries: which failures are tried again, and when."""

from __future__ import annotations

import math
import random
from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.guard import cause_of
from teknav_ops.engine.outcome import Postpone
from teknav_ops.errors import Away, PermanentError, Throttled, TransientError
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.topology import RetryPolicy, Topology

#: Spread of the backoff, so that jobs that failed together do not come back together.
JITTER = 0.25
#: No job waits longer, whatever it was asked for.
LONGEST_MS = 366 * 86_400_000
#: A snooze shorter than this would only make the other side refuse again.
LEAST_SNOOZE_MS = 100
#: While Redis or SQL are away, every attempt would fail within a minute, and all that is fetched meanwhile would end
#: among the dead letters. So jobs wait, for about an hour; then something else is wrong, and attempts count.
AWAY_FIRST_SNOOZE_MS = 1_000
AWAY_SNOOZE_MS = 15_000
AWAY_DELIVERIES = 200
#: Python's own ConnectionError may be about anybody.
_AWAY: tuple[type[BaseException], ...] = (Away, *(kind for kind in OUTAGE_ERRORS if kind is not ConnectionError))


class Retries(Middleware):
    """Decides; the move itself is the script's, committed with the finish."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    @property
    def actor_options(self) -> set[str]:
        """Options of Dramatiq's own Retries that actors outside the topology may use."""
        return {"max_retries", "min_backoff", "max_backoff", "throws", "retry_when"}

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Postpone the job if another attempt may help and one is left."""
        if exception is None or not isinstance(message, JobMessage):
            return
        cause = cause_of(exception)
        actor = broker.actors.get(message.actor_name)
        options = {**(actor.options if actor else {}), **message.options}
        if isinstance(cause, Throttled):
            asked_ms = _asked_ms(cause.retry_after_seconds, 1000, or_else=AWAY_SNOOZE_MS)
            message.outcome = Postpone(max(LEAST_SNOOZE_MS, asked_ms), uses_attempt=False, exception=cause)
        elif isinstance(cause, _AWAY) and message.delivery.delivery < AWAY_DELIVERIES:
            message.outcome = Postpone(_away_ms(message), uses_attempt=False, exception=cause)
        elif self._may_retry(message, cause, options):
            policy = self._policy(message, options)
            message.outcome = Postpone(_delay_ms(policy, message.attempt, cause), uses_attempt=True, exception=cause)

    def _may_retry(self, message: JobMessage, cause: BaseException, options: dict[str, Any]) -> bool:
        throws = options.get("throws")
        if isinstance(cause, PermanentError) or (throws and isinstance(cause, throws)):
            return False
        retry_when = options.get("retry_when")
        if retry_when is not None:
            return bool(retry_when(message.attempt - 1, cause))
        return message.attempt < self._policy(message, options).attempts

    def _policy(self, message: JobMessage, options: dict[str, Any]) -> RetryPolicy:
        policy = message.lane.queue.retry
        max_retries = options.get("max_retries", policy.attempts - 1)
        return RetryPolicy(
            attempts=2**31 if max_retries is None else max_retries + 1,
            min_backoff_ms=options.get("min_backoff", policy.min_backoff_ms),
            max_backoff_ms=options.get("max_backoff", policy.max_backoff_ms),
        )


def _away_ms(message: JobMessage) -> int:
    # A lock or a lost connection is over in a moment, a failover in minutes.
    snoozed_count = message.delivery.delivery - message.attempt
    return _spread(min(AWAY_SNOOZE_MS, AWAY_FIRST_SNOOZE_MS * 2.0 ** min(snoozed_count, 10)))


def _spread(delay_ms: float) -> int:
    return int(delay_ms * random.uniform(1, 1 + JITTER))


def _delay_ms(policy: RetryPolicy, attempt: int, cause: BaseException) -> int:
    """Backoff after this attempt; what the other side asked for wins when it is longer."""
    if isinstance(cause, dramatiq.Retry) and cause.delay is not None:
        return _asked_ms(cause.delay, 1, or_else=policy.min_backoff_ms)
    backoff_ms = min(policy.max_backoff_ms, policy.min_backoff_ms * 2.0 ** min(attempt - 1, 40))
    spread_ms = min(policy.max_backoff_ms, _spread(backoff_ms))
    if isinstance(cause, TransientError) and cause.retry_after_seconds is not None:
        return max(spread_ms, _asked_ms(cause.retry_after_seconds, 1000, or_else=spread_ms))
    return spread_ms


def _asked_ms(pause: Any, unit_ms: int, *, or_else: int) -> int:
    """The pause that was asked for, where it is one."""
    if isinstance(pause, int | float) and -math.inf < pause < math.inf:
        return int(min(max(pause, 0), LONGEST_MS / unit_ms) * unit_ms)
    return or_else
