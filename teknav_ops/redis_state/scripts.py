"""The state changes of a job: one typed function per Lua file.

Each function builds a `Call`; a `ScriptRunner` sends one, or many in one round trip. Arguments
are positional in the order the Lua file's header names them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, Final, Generic, Literal, TypeVar

from redis.exceptions import NoScriptError

from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import (
    EVENTS_CHANNEL,
    EVENTS_CURSORS,
    EVENTS_STREAM,
    QueueKeys,
    lease,
    lease_term,
    stats,
)
from teknav_ops.retry_policies import DAY_MS

Result = TypeVar("Result")
#: What a snooze is counted with: `throttled` and `away` only so often in a row, `waiting` as often as it likes.
Series = Literal["", "throttled", "away", "waiting"]


@dataclasses.dataclass(frozen=True, slots=True)
class Script:
    """One Lua file and the digest under which a server caches it."""

    name: str
    source: str
    digest: str


@functools.cache
def load(name: str) -> Script:
    """Read `lua/<name>.lua`, with the parts that it includes."""
    source = "\n".join(_included(line) for line in _read(f"{name}.lua").split("\n"))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _included(line: str) -> str:
    """A line of a script; for `--@include PART`, what `lua/parts/PART.lua` holds, since servers know no modules."""
    part = line.removeprefix("--@include ")
    return line if part == line else _read("parts", f"{part}.lua").rstrip("\n")


def _read(*path: str) -> str:
    return resources.files("teknav_ops.redis_state").joinpath("lua", *path).read_text("utf-8")


def _same(raw: Any) -> Any:
    return raw


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """A script with its keys and arguments, ready to be sent; `parse` gives the answer its type."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]
    parse: Callable[[Any], Result] = _same


class ScriptRunner:
    """Sends calls to Redis. A server that does not know a script yet is given its source."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def run(self, call: Call[Result]) -> Result:
        """Send one call. Raises the client's errors."""
        try:
            raw = self._send("EVALSHA", call.script.digest, call)
        except NoScriptError:
            raw = self._send("EVAL", call.script.source, call)
        return call.parse(raw)

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip; each stands alone, and its error stands in its place.

        A call whose script the server did not know is sent again, and so runs after those that stood behind it.
        """
        if len(calls) == 1 or is_cluster(self.client):
            return [self._run_safely(call) for call in calls]
        pipeline = self.client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.args)
        answers = pipeline.execute(raise_on_error=False)
        return [self._settle(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def _settle(self, call: Call[Any], answer: Any) -> Any:
        if isinstance(answer, NoScriptError):
            return self._run_safely(call)
        return answer if isinstance(answer, Exception) else call.parse(answer)

    def _run_safely(self, call: Call[Any]) -> Any:
        try:
            return self.run(call)
        except Exception as error:
            return error

    def _send(self, command: str, script: str, call: Call[Any]) -> Any:
        return self.client.execute_command(command, script, len(call.keys), *call.keys, *call.args)


# Producers -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is written: `payload` and `options` are JSON; `delay_ms` 0 means now."""

    id: str
    name: str
    payload: str
    options: str = ""
    idempotency_key: str = ""
    delay_ms: int = 0
    priority: int = 0
    trace_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a job that was offered: its id, and whether it is new or the key's first job."""

    job_id: str
    is_new: bool


@dataclasses.dataclass(frozen=True, slots=True)
class KeyInUse(Accepted):
    """A job was offered whose key is used: what the key's first job was enqueued with, while that is on record."""

    first_name: str
    first_payload: str = dataclasses.field(repr=False)


def enqueue(keys: QueueKeys, *, idempotency_ms: int, actor: str, jobs: Iterable[NewJob]) -> Call[list[Accepted]]:
    """Accept jobs of one queue; at most a thousand at a time."""
    args: list[Any] = [idempotency_ms, actor]
    for job in jobs:
        args += (job.id, job.name, job.payload, job.options)
        args += (job.idempotency_key, job.delay_ms, job.priority, job.trace_id)
    names = [keys.waiting, keys.prioritized, keys.delayed, keys.wake, keys.audit, keys.last_turn]
    names += [keys.job_family, keys.idempotency_family, keys.minute_family, keys.totals]
    return Call(load("enqueue"), names, args, _parse_accepted)


def _parse_accepted(raw: list[list[Any]]) -> list[Accepted]:
    return [
        KeyInUse(raw_job[1], False, *raw_job[2:]) if raw_job[2:] else Accepted(raw_job[1], raw_job[0] != 0)
        for raw_job in raw
    ]


# Workers ---------------------------------------------------------------------------------------


# Not frozen: that would cost a tenth of what a short job costs in all.
@dataclasses.dataclass(slots=True)
class Delivery:
    """One hand-over of a job to this process."""

    id: str
    delivery: int
    name: str
    payload: str | None
    options: str | None
    attempts: int
    lost: int
    enqueued_at_ms: int
    trace_id: str
    idempotency_key: str | None
    #: How often in a row it has met Redis or SQL away, and has been throttled, and since when that is.
    away_count: int = 0
    throttled_count: int = 0
    throttled_ms: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to a fetch. `look_again_ms` is None when nothing is due that would not wake us."""

    look_again_ms: int | None
    concurrency: int | None
    is_limited_globally: bool
    deliveries: list[Delivery]


#: Due jobs that one fetch moves to waiting: a few milliseconds of the server's time.
RIPEN_COUNT: Final = 1_000


def fetch(
    keys: QueueKeys,
    *,
    count: int,
    lease_ms: int,
    worker: str,
    global_concurrency: int,
    rate_count: int,
    rate_period_ms: int,
    suspect_losses: int = 1,
    suspects: int | None = None,
    ripen_count: int = RIPEN_COUNT,
) -> Call[Fetched]:
    """Take up to `count` jobs under a lease; of those that were lost `suspect_losses` times at most `suspects`, or
    as many as come. Where more than `ripen_count` are due, none yet: look again at once."""
    suspects = count if suspects is None else suspects
    names = [keys.waiting, keys.prioritized, keys.delayed, keys.active, keys.wake]
    names += [keys.control, keys.handed_out, keys.corrupt, keys.job_family]
    args = [count, lease_ms, worker, global_concurrency, rate_count, rate_period_ms, suspect_losses, suspects]
    args.append(ripen_count)
    return Call(load("fetch"), names, args, _parse_fetched)


def _parse_fetched(raw: list[Any]) -> Fetched:
    look_again, concurrency, limited = raw[:3]
    return Fetched(
        look_again if look_again >= 0 else None,
        int(concurrency) if concurrency else None,
        bool(limited),
        [_parse_delivery(job) for job in raw[3:]],
    )


def _parse_delivery(raw: list[Any]) -> Delivery:
    job_id, delivery, name, payload, options, attempts, lost, enqueued_at, trace, key = raw[:10]
    away, throttled, throttled_ms = (int(number or 0) for number in raw[10:])
    return Delivery(
        job_id, delivery, name, payload, options, int(attempts or 0), int(lost or 0),
        int(enqueued_at or 0), trace or "", key, away, throttled, throttled_ms,
    )  # fmt: skip


@dataclasses.dataclass(slots=True)
class Run:
    """How one run of a job went: when, how long, and its bucket in the duration sketch."""

    job_id: str
    delivery: int
    started_at_ms: int
    duration_ms: float
    bucket: str


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, as recorded. `attempt` is the JSON entry in the job's history."""

    error_type: str
    error: str
    stack: str
    fingerprint: str
    attempt: str


def complete(
    keys: QueueKeys, *, worker: str, completed_kept: int, wakes: bool, runs: Iterable[tuple[Run, str]]
) -> Call[list[int]]:
    """Finish successful runs, each with its result as JSON ('' for none)."""
    args: list[Any] = [worker, completed_kept, "1" if wakes else "0"]
    for run, result in runs:
        args += (run.job_id, run.delivery, run.started_at_ms, run.duration_ms, run.bucket, result)
    names = [keys.active, keys.completed, keys.wake, keys.audit, keys.job_family, keys.minute_family]
    names += [keys.totals, keys.replay_family]
    return Call(load("complete"), names, args)


def postpone(
    keys: QueueKeys,
    *,
    worker: str,
    run: Run,
    failure: Failure,
    delay_ms: int,
    uses_attempt: bool,
    series: Series = "",
) -> Call[int]:
    """Retry later, or snooze. `series` is of what only so many may come in a row."""
    names = [keys.active, keys.delayed, keys.wake, keys.audit, keys.job(run.job_id), keys.minute_family]
    names.append(keys.totals)
    args = [run.job_id, run.delivery, worker, delay_ms, "1" if uses_attempt else "0"]
    args += [run.started_at_ms, run.duration_ms, run.bucket]
    args += [failure.error_type, failure.error, failure.fingerprint, failure.attempt, series]
    return Call(load("postpone"), names, args)


def dead_letter(keys: QueueKeys, *, worker: str, run: Run, failure: Failure, failed_kept: int) -> Call[int]:
    """Give a job up."""
    names = [keys.active, keys.failed, keys.dlq, keys.dlq_record(run.job_id)]
    names += [keys.dlq_type(failure.error_type), keys.dlq_fingerprint(failure.fingerprint), keys.dlq_groups]
    names += [keys.wake, keys.audit, keys.job(run.job_id), keys.job_family, keys.minute_family, keys.totals]
    names.append(keys.replay_family)
    args = [run.job_id, run.delivery, worker, run.started_at_ms, run.duration_ms, run.bucket]
    args += [failure.error_type, failure.error, failure.stack, failure.fingerprint, failure.attempt]
    return Call(load("dead_letter"), names, [*args, failed_kept, keys.queue])


@dataclasses.dataclass(frozen=True, slots=True)
class Extended:
    """The server's time at a heartbeat, and the ids that are no longer ours."""

    at_ms: int
    lost: list[str]


def extend_leases(keys: QueueKeys, *, worker: str, lease_ms: int, held: Iterable[tuple[str, int]]) -> Call[Extended]:
    """Heartbeat."""
    args = [worker, lease_ms, *(part for pair in held for part in pair)]
    return Call(load("extend_leases"), [keys.active, keys.workers, keys.job_family], args, _parse_extended)


def _parse_extended(raw: list[Any]) -> Extended:
    return Extended(*raw)


@dataclasses.dataclass(frozen=True, slots=True)
class Reclaimed:
    """Jobs that went back to wait, and those to dead-letter: (job id, delivery, last worker)."""

    returned_count: int
    doomed: list[tuple[str, int, str]]


def reclaim(keys: QueueKeys, *, count: int, lost_limit: int, lease_ms: int, worker: str) -> Call[Reclaimed]:
    """Take back jobs whose lease ran out."""
    names = [keys.active, keys.waiting, keys.prioritized, keys.wake, keys.audit, keys.corrupt]
    names += [keys.job_family, keys.totals]
    return Call(load("reclaim"), names, [count, lost_limit, lease_ms, worker], _parse_reclaimed)


def _parse_reclaimed(raw: list[Any]) -> Reclaimed:
    return Reclaimed(raw[0], [(job_id, delivery, worker) for job_id, delivery, worker in raw[1:]])


def mark_started(keys: QueueKeys, *, job_id: str, delivery: int) -> Call[bool]:
    """Say that a job which outlived a worker begins now; False when it is no longer ours."""
    return Call(load("mark_started"), [keys.job(job_id)], [delivery], bool)


def note_started(keys: QueueKeys, *, worker: str, begun: Iterable[tuple[str, int]]) -> Call[int]:
    """Write into the audit trail that jobs have begun, given as (job id, delivery); answers how many were noted."""
    return Call(
        load("note_started"), [keys.audit, keys.job_family], [worker, *(part for pair in begun for part in pair)]
    )


def note_stuck(keys: QueueKeys, *, worker: str, job_id: str, delivery: int, detail: str, attempt: str) -> Call[bool]:
    """Write that a run goes on long past its time limit; False when that is known, or the job is no longer ours."""
    return Call(load("note_stuck"), [keys.audit, keys.job(job_id)], [worker, job_id, delivery, detail, attempt], bool)


def report_progress(keys: QueueKeys, *, job_id: str, delivery: int, fraction: float, note: str) -> Call[bool]:
    """Record progress; False when the job is no longer ours."""
    return Call(load("report_progress"), [keys.job(job_id)], [delivery, fraction, note], bool)


def release(keys: QueueKeys, *, held: Iterable[tuple[str, int]]) -> Call[int]:
    """Give unstarted jobs back, each to its old place in the order."""
    args = [part for pair in held for part in pair]
    return Call(load("release"), [keys.active, keys.waiting, keys.prioritized, keys.wake, keys.job_family], args)


def ring(wake: str, *, ttl_ms: int = 0) -> Call[bool]:
    """Put a token on a list that a worker process blocks on; False when there was one."""
    return Call(load("ring"), [wake], [ttl_ms], bool)


# Operators -------------------------------------------------------------------------------------


def cancel(keys: QueueKeys, *, job_id: str, actor: str, cancelled_kept: int) -> Call[str]:
    """Cancel a job that has not begun; answers 'cancelled' or the state in the way."""
    names = [keys.waiting, keys.prioritized, keys.delayed, keys.cancelled]
    names += [keys.audit, keys.job(job_id), keys.job_family, keys.idempotency_family, keys.replay_family]
    return Call(load("cancel"), names, [job_id, actor, cancelled_kept])


def promote(keys: QueueKeys, *, job_id: str, actor: str) -> Call[str]:
    """Let a delayed job run now; answers 'promoted' or the state in the way."""
    names = [keys.delayed, keys.waiting, keys.prioritized, keys.last_turn, keys.wake]
    return Call(load("promote"), [*names, keys.audit, keys.job(job_id)], [job_id, actor])


@dataclasses.dataclass(frozen=True, slots=True)
class BatchTurn:
    """Which batch replay a runner goes on with, and how many of it were done before."""

    replay_id: str
    runner: str
    done_count: int


def replay_dead_letters(
    keys: QueueKeys,
    *,
    actor: str,
    failures: Iterable[tuple[str, int | None]],
    idempotency_ms: int = DAY_MS,
    payload: str = "",
    turn: BatchTurn | None = None,
) -> Call[int]:
    """Replay failed jobs, given as (job id, failed at ms, or None for whichever failure there is); at most a
    hundred at a time. Answers how many, or -1 when the batch is not the runner's to go on with. They hold their
    idempotency keys for `idempotency_ms` from now on; one whose key another job has is left alone.
    """
    names = [keys.dlq, keys.dlq_record_family, keys.dlq_type_family, keys.dlq_fingerprint_family]
    names += [keys.dlq_groups, keys.failed, keys.waiting, keys.prioritized, keys.last_turn, keys.wake, keys.audit]
    names += [keys.job_family, keys.replay_family, keys.idempotency_family]
    args: list[Any] = [actor, payload, idempotency_ms]
    args += ("", "", "") if turn is None else (turn.replay_id, turn.runner, turn.done_count)
    for job_id, failed_at_ms in failures:
        args += (job_id, "" if failed_at_ms is None else failed_at_ms)
    return Call(load("replay_dead_letters"), names, args)


def move_replay(
    keys: QueueKeys,
    replay_id: str,
    *,
    wanted: Literal["running", "finished", "aborted"],
    by: str,
    kept_ms: int,
    rate: str = "",
) -> Call[tuple[str, bool]]:
    """Start, finish or abort a batch replay; answers its state, and whether this call changed something."""
    names = [keys.replay(replay_id), keys.replay_ids(replay_id), keys.replays_running]
    args = [replay_id, wanted, by, rate, kept_ms]
    return Call(load("move_replay"), names, args, lambda raw: (raw[0], bool(raw[1])))


def hold_replay(keys: QueueKeys, replay_id: str, *, runner: str, lease_ms: int, kept_ms: int) -> Call[str]:
    """Take or keep the right to run a batch replay, or give it back with a lease of 0; answers 'ours', 'held', or
    the state in the way.
    """
    names = [keys.replay(replay_id), keys.replay_ids(replay_id)]
    return Call(load("hold_replay"), names, [runner, lease_ms, kept_ms])


def delete_dead_letters(
    keys: QueueKeys,
    *,
    actor: str,
    action: str,
    failures: Iterable[tuple[str, int | None]],
    reason: str = "",
    deletion_id: str = "",
) -> Call[int]:
    """Delete dead letters, given as (job id, failed at ms, or None for whichever failure there is); at most five
    hundred at a time. Answers how many; `deletion_id` names the batch deletion that counts them.
    """
    names = [keys.dlq, keys.dlq_record_family, keys.dlq_type_family, keys.dlq_fingerprint_family]
    names += [keys.dlq_groups, keys.failed, keys.audit, keys.job_family, keys.idempotency_family, keys.deletion_family]
    args: list[Any] = [actor, action, reason, deletion_id]
    for job_id, failed_at_ms in failures:
        args += (job_id, "" if failed_at_ms is None else failed_at_ms)
    return Call(load("delete_dead_letters"), names, args)


def set_control(keys: QueueKeys, *, actor: str, action: str, fields: dict[str, str]) -> Call[int]:
    """Change control fields; '' puts the topology's value back. Answers how many changed."""
    args = [actor, action, *(part for pair in fields.items() for part in pair)]
    return Call(load("set_control"), [keys.control, keys.wake, keys.audit], args)


def flush(keys: QueueKeys, *, actor: str, count: int) -> Call[int]:
    """Drop up to `count` of the jobs that have not begun from each place they wait in."""
    names = [keys.waiting, keys.prioritized, keys.delayed, keys.audit, keys.job_family, keys.idempotency_family]
    names.append(keys.replay_family)
    return Call(load("flush"), names, [actor, count])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """A queue at one instant, `at_ms` on the server's clock. `paused_since_ms` is None while it runs; limits are None
    where not overridden; `oldest_waiting_age_ms` is None while nothing waits. `completed` and `failed` are how many
    records are kept; the totals are how many there ever were, None where they are damaged."""

    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    cancelled: int
    dlq: int
    corrupt: int
    workers: int
    paused_since_ms: int | None
    concurrency: int | None
    global_concurrency: int | None
    rate_count: int | None
    rate_period_ms: int | None
    audit_backlog: int
    at_ms: int
    oldest_waiting_age_ms: int | None
    audit_lag_ms: int
    completed_total: int | None
    failed_total: int | None

    @property
    def is_paused(self) -> bool:
        """Whether the queue hands out jobs."""
        return self.paused_since_ms is not None


def queue_counts(keys: QueueKeys, *, heartbeat_ms: int) -> Call[QueueCounts]:
    """Count a queue's jobs by state, and say how old what waits is."""
    names = [keys.waiting, keys.prioritized, keys.active, keys.delayed, keys.completed, keys.failed]
    names += [keys.cancelled, keys.dlq, keys.corrupt, keys.workers, keys.control, keys.audit, keys.job_family]
    names.append(keys.totals)
    return Call(load("queue_counts"), names, [heartbeat_ms], _parse_counts)


def _parse_counts(raw: list[Any]) -> QueueCounts:
    names = [field.name for field in dataclasses.fields(QueueCounts)]
    values: dict[str, Any] = {
        name: None if raw_value == "" else int(raw_value) for name, raw_value in zip(names, raw, strict=True)
    }
    return QueueCounts(**values)


@dataclasses.dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry of a list: where it stands, and the fields that were asked for of its record."""

    id: str
    score: str
    fields: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class ListedPart:
    """Some entries of a list: how many it has in all, and how many stand before these."""

    total_count: int
    before_count: int
    entries: Sequence[ListedEntry]

    @property
    def left_count(self) -> int:
        """How many stand behind these."""
        return self.total_count - self.before_count - len(self.entries) if self.entries else 0


def _parse_part(fields: Sequence[str], raw: list[Any]) -> ListedPart:
    total, before, *rows = raw
    entries = [ListedEntry(row[0], row[1], _given(fields, row[2:])) for row in rows]
    return ListedPart(total, before, entries)


def _given(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=False) if value is not None}


def list_after(
    listed: str, record_family: str, *, newest_first: bool, between: tuple[str, str], after: tuple[str, str] | None,
    count: int, fields: Sequence[str],
) -> Call[ListedPart]:  # fmt: skip
    """What a sorted set holds after an entry (its score and id), within two scores as ZCOUNT takes them."""
    args = ["down" if newest_first else "up", *between, *(after or ("", "")), count, *fields]
    return Call(load("list_after"), [listed, record_family], args, functools.partial(_parse_part, fields))


def list_waiting(
    keys: QueueKeys, *, after: tuple[str, str] | None, count: int, fields: Sequence[str]
) -> Call[ListedPart]:
    """What waits after an entry (where it stands in the order of hand-out, and its id)."""
    names = [keys.waiting, keys.prioritized, keys.job_family]
    args = [*(after or ("", "")), count, *fields]
    return Call(load("list_waiting"), names, args, functools.partial(_parse_part, fields))


def audit_lag(keys: QueueKeys) -> Call[tuple[int, int]]:
    """How many audit entries are not yet in AuditLog, and the age of the oldest in ms."""
    return Call(load("audit_lag"), [keys.audit], [], tuple)


@dataclasses.dataclass(frozen=True, slots=True)
class ServerMemory:
    """How many bytes a server uses, and how many it may use; 0: no limit is set. `server` is its run id."""

    server: str
    used_bytes: int
    limit_bytes: int


def server_memory(keys: QueueKeys) -> Call[ServerMemory]:
    """The memory of the server that holds the queue."""
    return Call(load("server_memory"), [keys.waiting], [], lambda raw: ServerMemory(*raw))


@dataclasses.dataclass(frozen=True, slots=True)
class Replaced:
    """A text of a record that was read, and what is to stand in its place."""

    field: str
    read: str = dataclasses.field(repr=False)
    new: str = dataclasses.field(repr=False)


def reseal(record: str, replaced: Iterable[Replaced]) -> Call[int]:
    """Replace texts of a job's record or a dead letter that still are what was read; answers how many are new now."""
    args = [part for each in replaced for part in (each.field, each.read, each.new)]
    return Call(load("reseal"), [record], args)


# Processes -------------------------------------------------------------------------------------


def put_newest(key: str, *, made_at_ms: int, ttl_ms: int, json_text: str) -> Call[bool]:
    """Put a computed value in place, unless a newer one is there."""
    return Call(load("put_newest"), [key], [made_at_ms, ttl_ms, json_text], bool)


def replace_fields(key: str, *, written: Mapping[str, str], dropped: Collection[str]) -> Call[int]:
    """Write fields of a hash and drop others, as one step."""
    args = [len(dropped), *dropped, *(part for pair in written.items() for part in pair)]
    return Call(load("replace_fields"), [key], args)


def publish_stats(
    queue: str, *, term: int, publisher: str, fresh_ms: int, expires_at_ms: int, json_text: str
) -> Call[bool]:
    """Put a queue's stats in place; False when those of a later term, or of another living publisher, stay."""
    args = [term, publisher, fresh_ms, expires_at_ms, json_text]
    return Call(load("publish_stats"), [stats(queue)], args, bool)


def lead(role: str, *, holder: str, lease_ms: int, wish: Literal["renew", "release"]) -> Call[int]:
    """Take, renew or release the lease of a role; answers the term of the leader, 0 while another holds it."""
    return Call(load("lead"), [lease(role), lease_term(role)], [holder, lease_ms, wish])


@dataclasses.dataclass(frozen=True, slots=True)
class Relayed:
    """What became of events: their ids; or, where nothing was written, the cursor on record ('' none)."""

    is_told: bool
    ids: tuple[str, ...] = ()
    cursor: str = ""


def relay_events(queue: str, *, from_id: str, to_id: str, kept: int, events: Iterable[str]) -> Call[Relayed]:
    """Tell events (JSON objects without an id) read from a queue's audit stream, and move its cursor.

    `queue` is '' for events that come from no audit stream.
    """
    args = [queue, from_id, to_id, kept, EVENTS_CHANNEL, *events]
    return Call(load("relay_events"), [EVENTS_STREAM, EVENTS_CURSORS], args, _parse_relayed)


def _parse_relayed(raw: list[Any]) -> Relayed:
    return Relayed(True, tuple(raw[1:])) if raw[0] == 1 else Relayed(False, cursor=raw[1])


# Who may enter -----------------------------------------------------------------------------------


def open_session(key: str, *, idle_ms: int, longest_ms: int, fields: Mapping[str, str | int]) -> Call[int]:
    """Open a session; answers when it ends in any case (ms)."""
    pairs = [part for pair in fields.items() for part in pair]
    return Call(load("open_session"), [key], [idle_ms, longest_ms, *pairs])


def list_session(key: str, *, session_id: str, longest_ms: int, kept_ms: int, most: int) -> Call[list[str]]:
    """Put a session on its user's list; answers those that are too many, for the caller to end and take off it."""
    return Call(load("list_session"), [key], [session_id, longest_ms, kept_ms, most])


def mark_session(key: str, *, now_field: str = "", fields: Mapping[str, str | int] | None = None) -> Call[int]:
    """Write down something new of a session, and the present time in one field; answers 0 when it has ended."""
    pairs = [part for pair in (fields or {}).items() for part in pair]
    return Call(load("mark_session"), [key], [now_field, *pairs])


def put_text(key: str, *, text: str, ttl_ms: int) -> Call[int]:
    """Keep a short text for a while."""
    return Call(load("put_text"), [key], [text, ttl_ms])


def use_session(key: str, *, idle_ms: int, is_use: bool, coarse_ms: int = 30_000) -> Call[dict[str, str]]:
    """Read a session, and put off its idle end where a person did something; empty when it has ended."""
    return Call(load("use_session"), [key], [idle_ms, int(is_use), coarse_ms], _parse_fields)


def _parse_fields(raw: list[str]) -> dict[str, str]:
    return dict(zip(raw[::2], raw[1::2], strict=True))


def sign_in_attempt(
    key: str,
    *,
    wish: Literal["begin", "refund", "forget"],
    free_count: int = 0,
    delay_ms: int = 0,
    longest_ms: int = 0,
    memory_ms: int = 1,
) -> Call[int]:
    """Count an attempt to sign in; answers for how many ms it must wait, 0 when it may go on."""
    return Call(load("sign_in_attempt"), [key], [wish, free_count, delay_ms, longest_ms, memory_ms])


def take_quota(key: str, *, count: int, limit: int, window_seconds: int) -> Call[int]:
    """Count jobs against a limit per window; answers 0, or in how many seconds they will fit."""
    return Call(load("take_quota"), [key], [count, limit, window_seconds])
