"""How often and how patiently jobs are tried again: the default, and the policies of queues that reach others.

What is asked of ours is answered or not within half a minute. What is asked of others may be answered in the morning.
"""

from __future__ import annotations

import dataclasses
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a job is tried again.

    Attempts are for failures. A job that is asked for a pause uses up none, but is given up when that has happened
    `throttle_limit_count` times in a row, or for `throttle_limit_ms`.
    """

    attempts: int = 5
    min_backoff_ms: int = 2 * SECOND_MS
    max_backoff_ms: int = 2 * MINUTE_MS
    throttle_limit_count: int = 100
    throttle_limit_ms: int = DAY_MS


#: Providers come back within minutes, and an attempt may cost money: one more of them, and ten minutes in all. A budget
#: that is spent for the day is waited for.
AI_RETRY: Final = RetryPolicy(
    attempts=6,
    min_backoff_ms=20 * SECOND_MS,
    max_backoff_ms=10 * MINUTE_MS,
    throttle_limit_count=300,
    throttle_limit_ms=3 * DAY_MS,
)
#: Mail servers put off what they do not know for up to an hour; over three hours in all.
MAIL_RETRY: Final = RetryPolicy(attempts=12, min_backoff_ms=10 * SECOND_MS, max_backoff_ms=HOUR_MS)
#: A code is worth nothing after some minutes: often, and not for long.
CODE_RETRY: Final = RetryPolicy(attempts=8, max_backoff_ms=20 * SECOND_MS)
#: Other people's servers are deployed, restarted and mended in the morning: about eleven hours.
WEBHOOK_RETRY: Final = RetryPolicy(
    attempts=16,
    min_backoff_ms=5 * SECOND_MS,
    max_backoff_ms=2 * HOUR_MS,
    throttle_limit_count=300,
    throttle_limit_ms=3 * DAY_MS,
)
