"""Retries: which failures are tried again, and when."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.guard import cause_of
from teknav_ops.engine.outcome import GiveUp, Postpone
from teknav_ops.errors import Away, PermanentError, Throttled, ThrottledTooLong, TransientError, Waiting
from teknav_ops.payloads.redaction import error_text
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.topology import Topology

#: Spread of the backoff, so that jobs that failed together do not come back together.
JITTER = 0.25
#: No job waits longer, whatever it was asked for.
LONGEST_MS = 366 * 86_400_000
#: A snooze shorter than this would only make the other side refuse again. Each time in a row that it does all the same,
#: the least pause doubles, up to a quarter of an hour.
LEAST_SNOOZE_MS = 100
LONGEST_LEAST_SNOOZE_MS = 15 * 60_000
#: While Redis or SQL are away, every attempt would fail within a minute, and all that is fetched meanwhile would end
#: among the dead letters. So jobs wait, for about an hour; then something else is wrong, and attempts count.
AWAY_FIRST_SNOOZE_MS = 1_000
AWAY_SNOOZE_MS = 15_000
AWAY_SNOOZES = 200
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
        message.outcome = self.verdict(broker, message, exception)
        if isinstance(message.outcome, GiveUp):
            message.fail()

    def verdict(self, broker: Broker, message: JobMessage, exception: BaseException) -> Postpone | GiveUp | None:
        """What this failure leads to; None where no retry takes it."""
        cause = cause_of(exception)
        actor = broker.actors.get(message.actor_name)
        options = {**(actor.options if actor else {}), **message.options}
        is_away = isinstance(cause, _AWAY) and not isinstance(cause, PermanentError)
        if isinstance(cause, Waiting):
            return Postpone(_waiting_ms(cause), uses_attempt=False, exception=cause, series="waiting")
        if isinstance(cause, Throttled):
            return _throttled(message, cause)
        if is_away and message.delivery.away_count < AWAY_SNOOZES:
            return Postpone(_away_ms(message), uses_attempt=False, exception=cause, series="away")
        if not self._may_retry(message, cause, options):
            return None
        delay_ms = _delay_ms(self._policy(message, options), message.attempt, cause)
        return Postpone(delay_ms, uses_attempt=True, exception=cause, series="away" if is_away else "")

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
        return dataclasses.replace(
            policy,
            attempts=2**31 if max_retries is None else max_retries + 1,
            min_backoff_ms=options.get("min_backoff", policy.min_backoff_ms),
            max_backoff_ms=options.get("max_backoff", policy.max_backoff_ms),
        )


def _away_ms(message: JobMessage) -> int:
    # A lock or a lost connection is over in a moment, a failover in minutes.
    return _spread(min(AWAY_SNOOZE_MS, AWAY_FIRST_SNOOZE_MS * 2.0 ** min(message.delivery.away_count, 10)))


def _waiting_ms(cause: Waiting) -> int:
    return max(LEAST_SNOOZE_MS, _asked_ms(cause.retry_after_seconds, 1000, or_else=AWAY_SNOOZE_MS))


def _throttled(message: JobMessage, cause: Throttled) -> Postpone | GiveUp:
    """As long a pause as was asked for, or longer when that did not help so far; or none any more."""
    policy, count, lasted_ms = message.lane.queue.retry, message.delivery.throttled_count, message.delivery.throttled_ms
    if count >= policy.throttle_limit_count or lasted_ms >= policy.throttle_limit_ms:
        return GiveUp(_too_long(count + 1, lasted_ms, policy, cause))
    least_ms = _spread(min(LONGEST_LEAST_SNOOZE_MS, LEAST_SNOOZE_MS * 2.0 ** min(count, 30)))
    asked_ms = _asked_ms(cause.retry_after_seconds, 1000, or_else=AWAY_SNOOZE_MS)
    # Who asks for a year is asked again when the time is up, and not later.
    pause_ms = min(max(least_ms, asked_ms), max(least_ms, policy.throttle_limit_ms - lasted_ms))
    return Postpone(pause_ms, uses_attempt=False, exception=cause, series="throttled")


def _too_long(count: int, lasted_ms: int, policy: RetryPolicy, cause: Throttled) -> ThrottledTooLong:
    limits = f"limit {policy.throttle_limit_count} times, {policy.throttle_limit_ms / 3_600_000:g} h"
    words = f"asked for a pause {count} times over {lasted_ms / 3_600_000:.1f} h ({limits})"
    return ThrottledTooLong(f"{words}, at last by {type(cause).__name__}: {error_text(cause)}")


def _spread(delay_ms: float) -> int:
    return int(delay_ms * random.uniform(1, 1 + JITTER))


def _delay_ms(policy: RetryPolicy, attempt: int, cause: BaseException) -> int:
    """Backoff after this attempt; what the other side asked for wins when it is longer."""
    if isinstance(cause, dramatiq.Retry) and cause.delay is not None:
        return _asked_ms(cause.delay, 1, or_else=policy.min_backoff_ms)
    backoff_ms = min(policy.max_backoff_ms, policy.min_backoff_ms * 2.0 ** min(attempt - 1, 40))
    spread_ms = min(policy.max_backoff_ms, _spread(backoff_ms))
    if isinstance(cause, TransientError) and cause.retry_after_seconds is not None:
        asked_ms = _asked_ms(cause.retry_after_seconds, 1000, or_else=spread_ms)
        return max(spread_ms, min(asked_ms, policy.throttle_limit_ms))
    return spread_ms


def _asked_ms(pause: Any, unit_ms: int, *, or_else: int) -> int:
    """The pause that was asked for, where it is one."""
    if isinstance(pause, int | float) and -math.inf < pause < math.inf:
        return int(min(max(pause, 0), LONGEST_MS / unit_ms) * unit_ms)
    return or_else
