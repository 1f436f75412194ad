"""Batch deletions: a frozen list of dead letters that is deleted in bounded steps, for a reason.

A step is one script: what it took away is in the audit trail, one entry per job. If the process dies between two steps
the rest is still there; deleting the same list again goes on with what is left of it, and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from teknav_ops import frozen_lists
from teknav_ops.errors import InvalidRequest, UnknownJob
from teknav_ops.jobs.batch_deletion import Deletion, read_deletion
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.one_line import is_one_line
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys

REASON_LIMIT_CHARACTERS: Final = 300
_CHUNK: Final = 500


def checked_reason(reason: str) -> str:
    """Why dead letters are deleted. Raises InvalidRequest where nothing is said, or more than a line."""
    reason = reason.strip() if isinstance(reason, str) else ""
    says_something = any(map(str.isalnum, reason))
    if not says_something or len(reason) > REASON_LIMIT_CHARACTERS or not is_one_line(reason):
        raise InvalidRequest(
            f"reason: say in one line of at most {REASON_LIMIT_CHARACTERS} characters why they are deleted; "
            "it stands in the audit trail of each job"
        )
    return reason


class Deletions(frozen_lists.FrozenLists):
    """Previews batch deletions, and does them. Operators come through `control.py`."""

    def preview(
        self,
        queue: str,
        where: DeadLetterFilter,
        *,
        limit: int | None = None,
        operator: str,
        job_ids: Sequence[str] | None = None,
    ) -> Deletion:
        """Freeze all matching dead letters, or the oldest `limit`, or those of `job_ids`. Nothing is deleted yet.

        Damaged ones are among them. Raises:
            InvalidRequest: limit out of range, or more ids than the limit.
        """
        frozen = self._resolve(queue, where, limit=limit, job_ids=job_ids, with_damaged=True)
        keys = QueueKeys(queue)
        record, listed = keys.deletion(frozen.id), keys.deletion_ids(frozen.id)
        frozen_lists.write(self._client, record, listed, frozen, frozen.facts(operator))
        return self.get(queue, frozen.id)

    def get(self, queue: str, deletion_id: str) -> Deletion:
        """A batch deletion. Raises UnknownJob."""
        facts: dict[str, str] = self._client.hgetall(QueueKeys(queue).deletion(checked_id(deletion_id)))
        if not facts:
            raise UnknownJob(f"deletion: {queue} has no batch deletion {deletion_id!r}; they are kept for seven days")
        return read_deletion(queue, deletion_id, facts)

    def run(
        self,
        queue: str,
        deletion_id: str,
        *,
        actor: str,
        reason: str,
        on_progress: Callable[[int], None],
        on_deleted: Callable[[int], None],
    ) -> Deletion:
        """Delete what is left of a list. After each step `on_deleted` is told how many it has deleted so far, and
        `on_progress` how many of the list were gone through.
        """
        keys = QueueKeys(queue)
        record, listed = keys.deletion(deletion_id), keys.deletion_ids(deletion_id)
        self._keep(record, {"reason": reason, "deleted_by": actor}, "EXPIRE", listed, frozen_lists.PREVIEW_SECONDS)
        done = deleted = 0
        while failures := frozen_lists.read(self._client, listed, done, _CHUNK):
            deleted += self._runner.run(
                scripts.delete_dead_letters(
                    keys, actor=actor, action="dlq.deleted", failures=failures, reason=reason, deletion_id=deletion_id
                )
            )
            on_deleted(deleted)
            done += len(failures)
            on_progress(done)
        # The list goes with its end: a second run under way finds no more of it, and ends as well.
        self._keep(record, {"state": "finished", "ended_at_ms": str(self._now_ms(keys))}, "UNLINK", listed)
        return self.get(queue, deletion_id)

    def _keep(self, record: str, facts: dict[str, str], *also: str | int) -> None:
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(record, mapping=facts)
            pipeline.expire(record, frozen_lists.PREVIEW_SECONDS)
            pipeline.execute_command(*also)
            pipeline.execute()
