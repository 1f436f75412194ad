"""Frozen lists of dead letters: resolved once, previewed, and then acted on, whatever the filters mean by then.

A list names each failure by job id *and* moment, so one that came later under the same id is not meant. Batch replays
and batch deletions are made of them.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.batch_replay import cause_field, error_type_field
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries, FrozenFailure
from teknav_ops.jobs.queries import HEARTBEAT_MS
from teknav_ops.payloads import plain
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner

#: No list is longer: split what matches by error type or time.
LIST_LIMIT: Final = 100_000
DAY_SECONDS: Final = 24 * 3600
PREVIEW_SECONDS: Final = 7 * DAY_SECONDS
#: Causes kept on record: a preview that names more helps nobody to decide.
_CAUSE_LIMIT: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenList:
    """What was found; how many match in all; how many ids were asked for and are no dead letters."""

    failures: Sequence[FrozenFailure]
    matching_count: int
    missing_count: int
    #: A new one for each list.
    id: str
    created_at_ms: int

    def facts(self, operator: str) -> dict[str, Any]:
        """What is kept on record of it, with its causes."""
        causes = Counter((failure.error_type, failure.fingerprint) for failure in self.failures)
        types = Counter(failure.error_type for failure in self.failures)
        facts: dict[str, Any] = {
            "operator": operator,
            "state": "previewed",
            "created_at_ms": self.created_at_ms,
            "total": len(self.failures),
            "matching": self.matching_count,
            "missing": self.missing_count,
        }
        facts |= {error_type_field(kind): count for kind, count in types.items()}
        return facts | {cause_field(*cause): count for cause, count in causes.most_common(_CAUSE_LIMIT)}


class FrozenLists:
    """What makes frozen lists: previews of batch replays and of batch deletions begin alike."""

    def __init__(self, client: Client, queries: DeadLetterQueries) -> None:
        self._client = client
        self._queries = queries
        self._runner = ScriptRunner(client)

    def _resolve(
        self,
        queue: str,
        where: DeadLetterFilter,
        *,
        limit: int | None,
        job_ids: Sequence[str] | None,
        with_damaged: bool = False,
    ) -> FrozenList:
        """All matching dead letters, or the oldest `limit`, or those of `job_ids`.

        Raises:
            InvalidRequest: limit out of range, more ids than the limit, or ids and filters at once.
            UnknownJob: there is no such batch replay to filter by.
        """
        limit = plain.whole_number(LIST_LIMIT if limit is None else limit, "limit", 1, LIST_LIMIT)
        if job_ids is None:
            found, matching = self._queries.failures(queue, where, limit=limit, with_damaged=with_damaged)
            missing = 0
        elif where != DeadLetterFilter():
            # Whoever gives both wants those of the ids that match, and would get more.
            raise InvalidRequest("job_ids: name jobs, or choose by filters; not both")
        elif isinstance(job_ids, str):
            raise InvalidRequest("job_ids: must be a list of ids, not one text")
        elif len(job_ids) > limit:
            raise InvalidRequest(f"job_ids: {len(job_ids):,} ids are more than the limit of {limit:,}")
        else:
            found = self._queries.failures_of(queue, job_ids, with_damaged=with_damaged)
            matching, missing = len(found), len(set(job_ids)) - len(found)
        return FrozenList(found, matching, missing, secrets.token_hex(6), self._now_ms(QueueKeys(queue)))

    def _now_ms(self, keys: QueueKeys) -> int:
        return self._runner.run(scripts.queue_counts(keys, heartbeat_ms=HEARTBEAT_MS)).at_ms


def write(client: Client, record: str, listed: str, frozen: FrozenList, facts: dict[str, Any], *also: Any) -> None:
    """Keep a list and its record for seven days, as one step; `also` is one more command of that step."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.hset(record, mapping=facts)
        pipeline.expire(record, PREVIEW_SECONDS)
        # Sent again after a lost answer, the list must not hold each failure twice.
        pipeline.execute_command("DEL", listed)
        for first in range(0, len(frozen.failures), 1_000):
            part = frozen.failures[first : first + 1_000]
            pipeline.rpush(listed, *(f"{failure.job_id}|{failure.failed_at_ms}" for failure in part))
        pipeline.expire(listed, PREVIEW_SECONDS)
        if also:
            pipeline.execute_command(*also)
        pipeline.execute()


def read(client: Client, listed: str, first: int, count: int) -> list[tuple[str, int]]:
    """Some of a list's failures, as (job id, failed at ms)."""
    pairs = (entry.rpartition("|") for entry in client.lrange(listed, first, first + count - 1))
    return [(job_id, int(failed_at_ms)) for job_id, _, failed_at_ms in pairs]
