"""Quotas of producer tokens: jobs per minute, and how full a queue may be for them to add to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from teknav_ops.errors import InvalidRequest, TekNavError
from teknav_ops.payloads import plain
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner

_WINDOW_SECONDS: Final = 60
#: A queue that is full is looked at again no sooner: it empties at the pace of its workers.
_BACKLOG_WAIT_SECONDS: Final = 10
_MOST_PER_MINUTE: Final = 1_000_000
_MOST_BACKLOG: Final = 10_000_000


class QuotaExceeded(TekNavError):
    """The token has used its quota. Nothing was written; the same request goes through later."""

    def __init__(self, message: str, wait_seconds: int) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Quota:
    """What a producer may do at most; None: no limit."""

    token_id: int
    jobs_per_minute: int | None = None
    backlog_limit: int | None = None


def checked_quota(jobs_per_minute: int | None, backlog_limit: int | None, *, may_enqueue: bool) -> None:
    """Raises InvalidRequest where a limit is out of range, or limits what the token may not do at all."""
    limits = (("jobs_per_minute", jobs_per_minute, _MOST_PER_MINUTE), ("backlog_limit", backlog_limit, _MOST_BACKLOG))
    for name, value, most in limits:
        if value is None:
            continue
        if not may_enqueue:
            raise InvalidRequest(f"{name}: limits the creation of jobs; give the token the scope enqueue")
        plain.whole_number(value, name, 1, most)


class Quotas:
    """Counts what producers with a quota make, over all processes."""

    def __init__(self, client: Client, counts: Callable[[str], QueueCounts]) -> None:
        self._runner = ScriptRunner(client)
        self._counts = counts

    def take(self, quota: Quota, queue: str, count: int) -> None:
        """Count jobs that are about to be written. A request that fails afterwards, or was sent before, counts too.

        Raises:
            QuotaExceeded: nothing was counted.
        """
        if quota.backlog_limit is not None:
            self._check_backlog(quota.backlog_limit, queue, count)
        if quota.jobs_per_minute is not None:
            call = scripts.take_quota(
                keys.token_quota(quota.token_id),
                count=count,
                limit=quota.jobs_per_minute,
                window_seconds=_WINDOW_SECONDS,
            )
            wait_seconds = self._runner.run(call)
            if wait_seconds:
                words = f"quota: this token makes at most {quota.jobs_per_minute:,} jobs a minute"
                raise QuotaExceeded(f"{words}; try again in {wait_seconds} s", wait_seconds)

    def _check_backlog(self, limit: int, queue: str, count: int) -> None:
        counts = self._counts(queue)
        backlog = counts.waiting + counts.delayed
        if backlog + count > limit:
            raise QuotaExceeded(
                f"quota: {queue} holds {backlog:,} jobs that wait or are delayed, and this token adds to it only up to "
                f"{limit:,}; try again when it has emptied",
                _BACKLOG_WAIT_SECONDS,
            )
