"""Comparing what the engine did with what the model says; each aspect has an error of its own.

Hypothesis tells errors of different types apart, so one run reports each of several faults with its own example.
"""

from __future__ import annotations

from typing import Any, Final

from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts
from tests.model.batch_replays import BatchReplays
from tests.model.engine_model import EngineModel
from tests.model.records import Job
from tests.support.queue_dump import QueueDump


class Difference(AssertionError):
    """The engine did something else than the model."""


class OrderDiffers(Difference):
    """Jobs come in another order."""


class AgeDiffers(Difference):
    """How long something has waited."""


class HandedOutDiffers(Difference):
    """How many jobs are handed out, or when to look again."""


class KeyDiffers(Difference):
    """Which job an idempotency key stands for."""


class AnswerDiffers(Difference):
    """What a script answered."""


class PlaceDiffers(Difference):
    """Where jobs are."""


class RecordDiffers(Difference):
    """What is on record of a job."""


class CountDiffers(Difference):
    """How many there are of something."""


class AuditDiffers(Difference):
    """What the audit trail says."""


class BatchDiffers(Difference):
    """What is on record of a batch replay or deletion, or how long."""


class TokenDiffers(Difference):
    """Whether a sleeping consumer would be woken."""


def expect(kind: type[Difference], what: str, intended: Any, found: Any) -> None:
    """Raise the difference, if there is one."""
    if intended != found:
        raise kind(f"{what}: intended {intended!r}, found {found!r}")


def compare(model: EngineModel, dump: QueueDump, counts: QueueCounts, keys: QueueKeys) -> None:
    """Everything that the queue holds, against the model."""
    _compare_places(model, dump, keys)
    _compare_records(model, dump)
    _compare_counts(model, counts)
    _compare_letters(model, dump, keys)
    _compare_counters(model, dump, keys)
    expect(AuditDiffers, "audit", _settled(model.audit), _settled(_entries(dump)))
    owned = {key: owner for key, (owner, _) in model.keys.items()}
    expect(KeyDiffers, "idempotency keys", owned, dump.family(keys.idempotency_family))
    deletions = {deletion_id: {"deleted": str(count)} for deletion_id, count in model.deletions.items()}
    expect(BatchDiffers, "batch deletions", deletions, dump.family(keys.deletion_family))
    expect(RecordDiffers, "control", model.control, dump.hashes(keys.control))
    expect(TokenDiffers, "wake token", [], dump.lists(keys.wake)[1:])
    expect(TokenDiffers, "wake token", model.token, bool(dump.lists(keys.wake)))


def compare_batches(replays: BatchReplays, dump: QueueDump, keys: QueueKeys) -> None:
    """The batch replays on record, their lists, and which run."""
    intended: dict[str, Any] = {}
    ends: dict[str, int | None] = {}
    for replay_id, batch in replays.batches.items():
        intended[replay_id], ends[keys.replay(replay_id)] = batch.facts, batch.ends_at
        if batch.has_list:
            intended[f"{replay_id}:ids"] = [f"{job_id}|{at}" for job_id, at in batch.failures]
            ends[keys.replay_ids(replay_id)] = batch.list_ends_at
        if batch.again:
            intended[f"{replay_id}:again"], ends[keys.replay_again(replay_id)] = batch.again, batch.again_ends_at
    expect(BatchDiffers, "batch replays", intended, dump.family(keys.replay_family))
    expect(BatchDiffers, "when they go", ends, {key: dump.ends_at_ms.get(key) for key in ends})
    expect(BatchDiffers, "which run", replays.running, set(dump.content.get(keys.replays_running, ())))


def _compare_places(model: EngineModel, dump: QueueDump, keys: QueueKeys) -> None:
    waiting = sorted([*dump.lists(keys.waiting), *dump.scores(keys.prioritized)])
    expect(PlaceDiffers, "waiting", sorted(job.id for job in model.waiting()), waiting)
    expect(PlaceDiffers, "active", {job.id: job.lease_ends for job in model.active()}, dump.scores(keys.active))
    expect(PlaceDiffers, "delayed", {job.id: job.due_at for job in model.delayed()}, dump.scores(keys.delayed))
    for state, key in (("completed", keys.completed), ("failed", keys.failed), ("cancelled", keys.cancelled)):
        ended = {job_id: model.jobs[job_id].finished_at for job_id in model.history[state]}
        expect(PlaceDiffers, state, ended, dump.scores(key))
    expect(PlaceDiffers, "corrupt", {}, dump.scores(keys.corrupt))


def _compare_records(model: EngineModel, dump: QueueDump) -> None:
    stored = dump.jobs()
    expect(RecordDiffers, "jobs", sorted(model.jobs), sorted(stored))
    waited = {job.id: job.waited for job in model.jobs.values()}
    expect(AgeDiffers, "waited_ms", waited, {job_id: int(job.get("waited_ms", 0)) for job_id, job in stored.items()})
    for job in model.jobs.values():
        expect(RecordDiffers, f"record of {job.id}", _facts(job), _stored_facts(stored[job.id]))


def _facts(job: Job) -> dict[str, Any]:
    return {
        "state": job.state, "name": job.name, "payload": job.payload, "priority": job.priority, "key": job.key,
        "enqueued_at": job.enqueued_at, "delivery": job.delivery, "attempts": job.attempts, "lost": job.lost,
        "replays": job.replays, "replay": job.batch, "worker": job.worker, "error_type": job.cause[0],
        "progress": job.progress, "stuck": job.stuck,
    }  # fmt: skip


def _stored_facts(fields: dict[str, str]) -> dict[str, Any]:
    numbers = {name: int(fields.get(name, 0)) for name in ("priority", "delivery", "attempts", "lost", "replays")}
    numbers["stuck"] = int(fields.get("stuck_delivery", 0))
    return {
        "state": fields["state"], "name": fields["name"], "payload": fields["payload"],
        "key": fields.get("idempotency_key", ""), "enqueued_at": int(fields["enqueued_at_ms"]),
        "worker": fields.get("worker", ""), "error_type": fields.get("error_type", ""),
        "replay": fields.get("replay", ""),
        "progress": (fields.get("progress", ""), fields.get("progress_note", "")), **numbers,
    }  # fmt: skip


def _compare_counts(model: EngineModel, counts: QueueCounts) -> None:
    intended = model.counts()
    age = intended.pop("oldest_waiting_age_ms")
    found = {name: getattr(counts, name) for name in intended}
    expect(CountDiffers, "queue_counts", intended, found)
    expect(AgeDiffers, "age of the oldest waiting job", age, counts.oldest_waiting_age_ms)


def _compare_letters(model: EngineModel, dump: QueueDump, keys: QueueKeys) -> None:
    expect(PlaceDiffers, "dead letters", set(model.letters), set(dump.scores(keys.dlq)))
    expect(PlaceDiffers, "records of dead letters", set(model.letters), set(dump.family(keys.dlq_record_family)))
    groups = {name: int(count) for name, count in dump.hashes(keys.dlq_groups).items()}
    expect(CountDiffers, "groups of dead letters", model.groups(), groups)
    for place, family in ((0, keys.dlq_type_family), (1, keys.dlq_fingerprint_family)):
        intended: dict[str, set[str]] = {}
        for job_id, cause in model.letters.items():
            intended.setdefault(cause[place], set()).add(job_id)
        expect(PlaceDiffers, family, intended, {name: set(ids) for name, ids in dump.family(family).items()})


def _compare_counters(model: EngineModel, dump: QueueDump, keys: QueueKeys) -> None:
    expect(CountDiffers, "totals", _numbers(model.totals), _numbers(dump.hashes(keys.totals)))
    # Minutes are kept for a day, and go some time after it.
    first = model.now // 60_000 - _MINUTES_KEPT
    intended = {str(minute): _numbers(fields) for minute, fields in model.minutes.items() if minute > first}
    stored = dump.family(keys.minute_family)
    found = {minute: _numbers(fields) for minute, fields in stored.items() if int(minute) > first}
    expect(CountDiffers, "minutes", intended, found)


_MINUTES_KEPT: Final = 24 * 60


def _numbers(counters: Any) -> dict[str, int]:
    return {name: int(count) for name, count in counters.items() if int(count)}


def _entries(dump: QueueDump) -> list[tuple[str, ...]]:
    names = ("action", "job_id", "actor", "attempt", "delivery", "waited_ms")
    return [tuple(entry.get(name, "") for name in names) for entry in dump.audit()]


def _settled(entries: Any) -> list[tuple[str, ...]]:
    """What is dropped together has no order."""
    settled: list[tuple[str, ...]] = []
    dropped: list[tuple[str, ...]] = []
    for entry in entries:
        if entry[0] == "job.dropped":
            dropped.append(entry)
            continue
        settled += sorted(dropped)
        dropped = []
        settled.append(entry)
    return settled + sorted(dropped)
