"""The part of the operators' door that deletes dead letters in batches, and all of a queue's at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from teknav_ops.access.freshness import needs_fresh_sign_in
from teknav_ops.access.policy import Operation, Operator, needs, searched_text
from teknav_ops.audit.operator_log import OperatorAction
from teknav_ops.deletions import Deletions, checked_reason
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.topology import Topology

_PURGE_CHUNK: Final = 500


def _silent(_: Any) -> None:
    """Progress nobody watches."""


class BatchDeletionDoor:
    """What `Control` offers for deleting many dead letters. It cannot be taken back: each needs a fresh sign-in."""

    _client: Client
    _operator: Operator
    _topology: Topology
    _runner: ScriptRunner
    _jobs: JobQueries
    _deletions: Deletions
    _recorded: Callable[..., Any]

    @needs(Operation.MANAGE)
    def preview_deletion(
        self, queue: str, where: DeadLetterFilter, *, limit: int | None = None, job_ids: Sequence[str] | None = None
    ) -> Deletion:
        """Freeze the list of dead letters that `delete_listed` would take: all that match, or those of `job_ids`.

        Nothing is deleted yet. `limit` bounds the list to the oldest. Raises:
            NotAllowed: the filter looks into payloads, which the operator may not read.
            InvalidRequest: a limit out of range.
        """
        searched_text(self._operator, where.text, queue)
        return self._deletions.preview(
            self._topology[queue].name, where, limit=limit, operator=self._operator.name, job_ids=job_ids
        )

    @needs(Operation.MANAGE)
    @needs_fresh_sign_in
    def delete_listed(
        self, queue: str, deletion_id: str, *, reason: str, on_progress: Callable[[int], None] = _silent
    ) -> Deletion:
        """Delete a previewed list, in bounded steps. Asked again, it answers what was done; nothing is done twice.

        If the process dies in between, what is deleted is in the audit trail, and asking again goes on with the rest.

        Raises:
            InvalidRequest: no reason is given. UnknownJob: there is no such list. Nothing was deleted.
        """
        reason = checked_reason(reason)
        before = self._deletions.get(self._topology[queue].name, deletion_id)
        if before.state == "finished":
            return before
        total = before.total_count
        facts = {"deletion": deletion_id, "reason": reason, "total": total, "deleted": 0}
        with self._recorded("dlq.batch_deleted", queue, **facts) as entry:
            done = self._deletions.run(
                queue,
                deletion_id,
                actor=self._operator.name,
                reason=reason,
                on_progress=on_progress,
                on_deleted=lambda deleted: entry.note(deleted=deleted),
            )
            # Who goes on with another's list tells what they did themselves.
            entry.note(deleted=done.deleted_count - before.deleted_count, skipped=done.skipped_count)
        return done

    @needs(Operation.MANAGE)
    @needs_fresh_sign_in
    def purge(self, queue: str, *, confirmation: str, on_progress: Callable[[int], None] = _silent) -> int:
        """Delete all dead letters there are at this moment. `confirmation` must be the queue's name.

        Raises:
            InvalidRequest: the confirmation is not the queue's name. Nothing was deleted.
        """
        keys = QueueKeys(self._topology[queue].name)
        if confirmation != queue:
            raise InvalidRequest(f"confirmation: type {queue} to delete all its dead letters")
        with self._recorded("dlq.purged", queue, deleted=0) as entry:
            return self._purge_until(keys, self._jobs.counts(queue).at_ms, entry, on_progress)

    def _purge_until(
        self, keys: QueueKeys, until_ms: int, entry: OperatorAction, on_progress: Callable[[int], None]
    ) -> int:
        deleted = 0
        while ids := self._client.zrangebyscore(keys.dlq, "-inf", until_ms, start=0, num=_PURGE_CHUNK):
            failures = [(job_id, None) for job_id in ids]
            call = scripts.delete_dead_letters(keys, actor=self._operator.name, action="dlq.purged", failures=failures)
            deleted += self._runner.run(call)
            entry.note(deleted=deleted)
            on_progress(deleted)
        return deleted
