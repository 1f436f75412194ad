"""THE ONE DOOR for operators: everything a person may do to queues, jobs and dead letters.

The API, the pages, the widgets and the command line are handles on it. Every use is checked
against the policy and recorded in AuditLog with the operator's name before it reports success.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from teknav_ops.access.policy import Operation, Operator, needs, require
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.audit_chain_door import AuditChain
from teknav_ops.batch_deletion_door import BatchDeletionDoor
from teknav_ops.batch_replay_door import BatchReplayDoor
from teknav_ops.deletions import Deletions
from teknav_ops.engine.submission import submit
from teknav_ops.errors import InvalidRequest, UnknownJob, WrongState
from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads import codec, plain
from teknav_ops.platform.plugins import Plugins
from teknav_ops.platform.webhook_endpoints import WebhookEndpoints
from teknav_ops.platform.workflow_runs import WorkflowRuns
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Accepted, ScriptRunner
from teknav_ops.replays import Replays
from teknav_ops.second_run import second_run
from teknav_ops.secret_rotation.secret_keys import SecretKeys
from teknav_ops.topology import TOPOLOGY, Topology

_SUBMIT_SECONDS: Final = 10.0
#: 0 puts the topology's value back.
_LARGEST_LIMITS: Final = {
    "concurrency": 10_000, "global_concurrency": 1_000_000, "rate_count": 10_000_000, "rate_period_ms": 86_400_000,
}  # fmt: skip


class Control(BatchReplayDoor, BatchDeletionDoor):
    """What one operator may do."""

    def __init__(
        self,
        client: Client,
        operator: Operator,
        operator_log: OperatorLog,
        *,
        cipher: codec.Cipher,
        topology: Topology = TOPOLOGY,
        payload_limit_bytes: int = 256 * 1024,
    ) -> None:
        self._client = client
        self._operator = operator
        self._log = operator_log
        self._cipher = cipher
        self._topology = topology
        self._payload_limit_bytes = payload_limit_bytes
        self._runner = ScriptRunner(client)
        self._jobs = JobQueries(client, topology)
        self._dead_letters = DeadLetterQueries(client, topology)
        self._replays = Replays(client, self._dead_letters, topology)
        self._deletions = Deletions(client, self._dead_letters)

    # What operators own on the platform ----------------------------------------------------------

    @functools.cached_property
    def workflows(self) -> WorkflowRuns:
        """Workflows and their runs."""
        return WorkflowRuns(self._log.database, self._client, self._topology, self._recorded, operator=self._operator)

    @functools.cached_property
    def plugins(self) -> Plugins:
        """Plugins."""
        return Plugins(self._log.database, self._recorded, operator=self._operator)

    @functools.cached_property
    def webhooks(self) -> WebhookEndpoints:
        """Webhook endpoints."""
        return WebhookEndpoints(self._log.database, self._cipher, self._recorded, operator=self._operator)

    @functools.cached_property
    def keys(self) -> SecretKeys:
        """Secret keys, and what is under each."""
        return SecretKeys(self._client, self._log, self._cipher.keys, self._topology, self._operator)

    @functools.cached_property
    def audit_chain(self) -> AuditChain:
        """The chain over the audit trail."""
        return AuditChain(self._client, self._log, self._operator)

    # Queues ------------------------------------------------------------------------------------

    @needs(Operation.ACT)
    def pause(self, queue: str) -> bool:
        """Hand out no more of the queue's jobs; running ones finish. False when it was paused already."""
        counts = self._jobs.counts(queue)
        if counts.is_paused:
            return False
        # By the server's clock, as all that the queue holds.
        return self._set(queue, "queue.paused", {"paused": str(counts.at_ms)})

    @needs(Operation.ACT)
    def resume(self, queue: str) -> bool:
        """Hand out jobs again. False when the queue was not paused."""
        return self._set(queue, "queue.resumed", {"paused": ""})

    @needs(Operation.MANAGE)
    def configure(
        self,
        queue: str,
        *,
        concurrency: int | None = None,
        global_concurrency: int | None = None,
        rate_count: int | None = None,
        rate_period_ms: int | None = None,
    ) -> bool:
        """Change limits while running; 0 puts the topology's value back, None leaves it. False if nothing changed."""
        wanted = {
            "concurrency": concurrency,
            "global_concurrency": global_concurrency,
            "rate_count": rate_count,
            "rate_period_ms": rate_period_ms,
        }
        for name, value in wanted.items():
            if value is not None:
                plain.whole_number(value, name, 0, _LARGEST_LIMITS[name])
        fields = {name: str(value or "") for name, value in wanted.items() if value is not None}
        if fields.get("rate_count") and not fields.get("rate_period_ms"):
            raise InvalidRequest("rate_period_ms: give the period together with rate_count")
        return self._set(queue, "queue.configured", fields)

    def _set(self, queue: str, action: str, fields: Mapping[str, str]) -> bool:
        keys = QueueKeys(self._topology[queue].name)
        with self._recorded(action, queue, **fields) as entry:
            call = scripts.set_control(keys, actor=self._operator.name, action=action, fields=dict(fields))
            changed = self._runner.run(call) > 0
            entry.note(changed=changed)
        return changed

    # Jobs --------------------------------------------------------------------------------------

    @needs(Operation.ACT)
    def retry(self, queue: str, job_id: str) -> None:
        """Run a failed job again, whether or not its dead letter is still there. Raises WrongState."""
        self.replay(queue, job_id)

    @needs(Operation.ACT)
    def promote(self, queue: str, job_id: str) -> None:
        """Run a delayed job now. Raises WrongState or UnknownJob."""
        keys = QueueKeys(self._topology[queue].name)
        with self._recorded("job.promoted", queue, job_id):
            call = scripts.promote(keys, job_id=job_id, actor=self._operator.name)
            self._expect("promoted", self._runner.run(call), job_id, "only delayed jobs can be promoted")

    @needs(Operation.ACT)
    def cancel(self, queue: str, job_id: str) -> None:
        """Take a waiting or delayed job out. Raises WrongState or UnknownJob."""
        kept = self._topology[queue].cancelled_kept
        with self._recorded("job.cancelled", queue, job_id):
            call = scripts.cancel(QueueKeys(queue), job_id=job_id, actor=self._operator.name, cancelled_kept=kept)
            self._expect("cancelled", self._runner.run(call), job_id, "only waiting or delayed jobs can be cancelled")

    @needs(Operation.ACT)
    def run_again(self, queue: str, job_id: str) -> Accepted:
        """Run a completed or cancelled job once more, as a new job that names it in `run_again_of`.

        Asked again, it answers with the job that was made (`is_new` False): one click, or a request whose answer was
        lost, makes one job. That job, when it has ended, can be run again itself.

        Raises:
            WrongState: the job has not ended, or has failed (`replay` it).
            UnknownJob: there is no record of it.
            InvalidPayload: its payload does not fit the model any more. Nothing was written.
        """
        known = self._topology[queue]
        self._jobs.get(queue, job_id)
        stored = self._client.hgetall(QueueKeys(queue).job(job_id))
        job = second_run(known, job_id, stored, self._cipher, limit_bytes=self._payload_limit_bytes)
        with self._recorded("job.run_again", queue, job_id, new_job_id=job.id) as entry:
            accepted = submit(
                self._runner, known, [job], cipher=self._cipher, actor=self._operator.name,
                timeout_seconds=_SUBMIT_SECONDS,
            )[0]  # fmt: skip
            entry.note(new_job_id=accepted.job_id, is_new=accepted.is_new)
        return accepted

    def _expect(self, wanted: str, answer: str, job_id: str, rule: str) -> None:
        if answer == "":
            raise UnknownJob(f"job: there is no record of {job_id!r}")
        if answer != wanted:
            raise WrongState(f"job: {job_id} is {answer}; {rule}")

    # Dead letters ------------------------------------------------------------------------------

    @needs(Operation.ACT)
    def replay(self, queue: str, job_id: str, *, data: Mapping[str, Any] | None = None) -> None:
        """Put a failed job back to wait with fresh attempts; `data` replaces its payload.

        Where `data` holds the mask that a view shows in place of a secret, the secret stays as it is.

        Raises:
            NotAllowed: another payload is another job, which only those may make who may manage the queue.
            WrongState: the job is not failed (someone may have replayed it a moment ago), or another job has its
                idempotency key now.
            UnknownJob: there is no record of it.
            InvalidPayload: `data` does not fit the model. Nothing was changed.
        """
        if data is not None:
            require(self._operator, Operation.MANAGE, queue)
        record = self._jobs.get(queue, job_id)
        payload = "" if data is None else self._edited(queue, record, data)
        with self._recorded("dlq.replayed", queue, job_id, edited=data is not None):
            keys, key_ms = QueueKeys(queue), self._topology[queue].idempotency_ms
            call = scripts.replay_dead_letters(
                keys, actor=self._operator.name, failures=[(job_id, None)], payload=payload, idempotency_ms=key_ms
            )
            if not self._runner.run(call):
                raise self._not_replayed(queue, self._jobs.get(queue, job_id))

    def _not_replayed(self, queue: str, record: JobRecord) -> WrongState:
        keys = QueueKeys(queue)
        owner = record.idempotency_key and self._client.get(keys.idempotency_family + record.idempotency_key)
        if record.state == JobState.FAILED and owner:
            return WrongState(
                f"job: the idempotency key {record.idempotency_key!r} of {record.id} is job {owner}'s now, which does "
                "the same work: look after that one. Its key is free once it is cancelled, its dead letter deleted, or "
                "the key expired"
            )
        return WrongState(f"job: {record.id} is {record.state}; only failed jobs are replayed")

    def _edited(self, queue: str, record: JobRecord, data: Mapping[str, Any]) -> str:
        holder = codec.Holder(queue, record.name, record.id)
        stored = plain.read_or_raw(self._client.hget(QueueKeys(queue).job(record.id), "payload") or "null")
        whole = codec.keep_masked(data, stored, self._cipher, holder)
        payload = codec.validate(self._topology[queue].payload_of(record.name), whole, where=f"{queue} {record.name}")
        return codec.seal(payload, self._cipher, holder, limit_bytes=self._payload_limit_bytes)

    @needs(Operation.MANAGE)
    def delete(self, queue: str, job_id: str) -> None:
        """Delete one dead letter. Raises UnknownJob when it is not there."""
        keys = QueueKeys(self._topology[queue].name)
        with self._recorded("dlq.deleted", queue, job_id):
            call = scripts.delete_dead_letters(
                keys, actor=self._operator.name, action="dlq.deleted", failures=[(job_id, None)]
            )
            if not self._runner.run(call):
                raise UnknownJob(f"job: {queue} holds no dead letter {job_id!r}")

    def _recorded(self, action: str, queue: str | None, job_id: str | None = None, **detail: Any) -> Any:
        require(self._operator, Operation.ACT, queue)
        if job_id is not None:
            checked_id(job_id)
        return self._log.record(action, actor=self._operator.name, queue=queue, job_id=job_id, **detail)
