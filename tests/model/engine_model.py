"""What the engine means to do, in plain Python: lists, dicts and a clock; no Redis.

One queue. Each method is one script of `teknav_ops/redis_state/lua`: it answers what the script answers and leaves
behind what the script should leave behind. `test_engine_against_model.py` plays both and compares.

The promises that the scripts' own headers do not spell out:

- Jobs are handed out by (priority, ready time), however they came to wait. Ready is a job when it is accepted,
  promoted or replayed, and when it falls due; a lease that ran out or was given back changes nothing about that.
  What falls due in a millisecond goes before what arrives in it; what arrives keeps its order. A fetch that may not
  let all that is due come to wait hands out nothing.
- No span of the rate limit's length holds more than the limit, whichever limit was in force before.
- An idempotency key belongs to its first job until it expires, or until that job is cancelled, dropped, or its dead
  letter deleted. Meanwhile the same request gets the first job, and another one a conflict. A failed job takes its key
  again when it is replayed, and is not replayed while another job has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tests.model.records import Job, Limits
from tests.model.trail import BUCKET, Trail


class EngineModel(Trail):
    """One queue, as it should be."""

    def __init__(self, now_ms: int, *, idempotency_ms: int, kept: int, lost_limit: int) -> None:
        super().__init__(now_ms)
        self.idempotency_ms = idempotency_ms
        self.kept = kept
        self.lost_limit = lost_limit
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, tuple[str, int]] = {}
        self.letters: dict[str, tuple[str, str]] = {}
        #: Batch deletion -> how many it has deleted; only those on record count.
        self.deletions: dict[str, int] = {}
        #: State -> ids of ended jobs that stay listed.
        self.history: dict[str, set[str]] = {"completed": set(), "failed": set(), "cancelled": set()}
        self.control: dict[str, str] = {}
        self.handed: list[int] = []
        self.heartbeats: dict[str, int] = {}
        self.token = False
        self._arrivals = 0
        #: Told of each job that ends, with its outcome.
        self.ended: Callable[[Job, str], None] = lambda job, outcome: None

    # What can be asked ---------------------------------------------------------------------------

    def waiting(self) -> list[Job]:
        """Jobs that wait, in the order in which they will begin."""
        return sorted(self._in("waiting"), key=lambda job: job.turn)

    def _in(self, state: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == state]

    def active(self) -> list[Job]:
        """Jobs under a lease, in the order in which their leases end."""
        return sorted(self._in("active"), key=lambda job: (job.lease_ends, job.id))

    def delayed(self) -> list[Job]:
        """Jobs that come back by themselves, in the order in which they do."""
        return sorted(self._in("delayed"), key=lambda job: (job.due_at, job.id))

    def state_of(self, job_id: str) -> str:
        """A job's state; '' when there is no record of it."""
        job = self.jobs.get(job_id)
        return job.state if job else ""

    def holds(self, job_id: str, delivery: int) -> bool:
        """Whether a hand-over is in force."""
        return self._held(job_id, delivery) is not None

    def groups(self) -> dict[str, int]:
        """How many dead letters there are of each cause."""
        return dict(Counter("|".join(cause) for cause in self.letters.values()))

    def counts(self) -> dict[str, int | None]:
        """What `queue_counts` says."""
        waiting = self.waiting()
        controls = ("paused", "concurrency", "global_concurrency", "rate_count", "rate_period_ms")
        control = [int(self.control[name]) if name in self.control else None for name in controls]
        due = [job for job in self._in("delayed") if job.ready[0] <= self.now]
        oldest = min((job.ready[0] for job in (*waiting, *due)), default=None)
        return {
            "waiting": len(waiting),
            "active": len(self._in("active")),
            "delayed": len(self._in("delayed")),
            **{state: len(ids) for state, ids in self.history.items()},
            "dlq": len(self.letters),
            "corrupt": 0,
            "workers": sum(at >= self.now - 60_000 for at in self.heartbeats.values()),
            **dict(zip(("paused_since_ms", *controls[1:]), control, strict=True)),
            "audit_backlog": len(self.audit),
            "at_ms": self.now,
            "oldest_waiting_age_ms": None if oldest is None else self.now - oldest,
            "audit_lag_ms": 0 if self.audited_since is None else self.now - self.audited_since,
            "completed_total": self._ended("completed"),
            "failed_total": self._ended("failed"),
        }

    def _ended(self, how: str) -> int:
        return sum(count for field, count in self.totals.items() if field.endswith(f"|{how}"))

    # Time and the history ------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        """Time passes; what expires does."""
        self.now += ms
        self.keys = {key: owner for key, owner in self.keys.items() if owner[1] > self.now}

    def _arrive(self, job: Job) -> None:
        self._arrivals += 1
        job.state, job.ready = "waiting", (self.now, self._arrivals)

    def _free_key(self, job: Job) -> None:
        if self.keys.get(job.key, ("", 0))[0] == job.id:
            del self.keys[job.key]

    def _file(self, *jobs: Job) -> None:
        """Into the history of their state; the oldest beyond what is kept go."""
        if not jobs:
            return
        listed = self.history[jobs[0].state]
        for job in jobs:
            job.finished_at = self.now
            listed.add(job.id)
        for old in sorted(listed, key=lambda job_id: (self.jobs[job_id].finished_at, job_id))[: -self.kept]:
            listed.remove(old)
            if old not in self.letters:
                del self.jobs[old]

    # Producers -----------------------------------------------------------------------------------

    def enqueue(
        self, job_id: str, name: str, payload: str, *, key: str = "", delay_ms: int = 0, priority: int = 0
    ) -> tuple[str, str]:
        """('accepted' | 'first' | 'conflict', the job that counts)."""
        owner, _ = self.keys.get(key, ("", 0))
        if job_id in self.jobs or owner == job_id:
            return "accepted", job_id
        if owner:
            first = self.jobs.get(owner)
            return ("first" if first is None or first.request == (name, payload) else "conflict"), owner
        job = Job(job_id, name, payload, priority, key, enqueued_at=self.now, request=(name, payload))
        self.jobs[job_id] = job
        if delay_ms > 0:
            job.state, job.due_at, job.ready = "delayed", self.now + delay_ms, (self.now + delay_ms, 0)
        else:
            self._arrive(job)
        if key:
            self.keys[key] = (job_id, self.now + self.idempotency_ms)
        self._note("job.enqueued", job, "test")
        self._count("enqueued")
        self.token = True
        return "accepted", job_id

    # Workers -------------------------------------------------------------------------------------

    def fetch(
        self, worker: str, count: int, lease_ms: int, limits: Limits, suspects: int, ripen_count: int
    ) -> tuple[int | None, list[Job]]:
        """When to look again (None: when told), and the jobs handed out. Of those that were lost, at most `suspects`;
        the others stay in their place."""
        for job in self.delayed()[:ripen_count]:
            if job.due_at <= self.now:
                job.state = "waiting"
        delayed = self.delayed()
        look_again = max(0, delayed[0].due_at - self.now) if delayed else None
        if "paused" in self.control or look_again == 0:
            return look_again, []
        concurrency = int(self.control.get("global_concurrency", limits.global_concurrency))
        rate = int(self.control.get("rate_count", limits.rate_count))
        period = int(self.control.get("rate_period_ms", limits.rate_period_ms))
        if concurrency:
            count = min(count, concurrency - len(self._in("active")))
        if rate:
            left = rate - sum(at > self.now - period for at in self.handed)
            if left <= 0:
                # The next one may go when all but (rate - 1) of the newest have left the window.
                reset = self.handed[-rate] + period - self.now
                look_again = reset if look_again is None else min(look_again, reset)
            count = min(count, left)
        lost = [job for job in self.waiting() if job.lost]
        taken = [job for job in self.waiting() if job not in lost[suspects:]][: max(0, count)]
        for job in taken:
            job.state, job.worker, job.lease_ends = "active", worker, self.now + lease_ms
            job.delivery += 1
            job.waited = self.now - job.ready[0]
        if rate:
            self.handed += [self.now] * len(taken)
        if taken and self._in("waiting"):
            self.token = True
        return look_again, taken

    def _held(self, job_id: str, delivery: int) -> Job | None:
        job = self.jobs.get(job_id)
        return job if job and job.state == "active" and job.delivery == delivery else None

    def _verdict(self, job_id: str, delivery: int, state: str) -> int:
        """2: this very delivery had ended so before; 0: stale."""
        job = self.jobs.get(job_id)
        return 2 if job and job.delivery == delivery and job.state == state else 0

    def complete(self, worker: str, runs: Sequence[tuple[str, int]], *, duration_ms: float, wakes: bool) -> list[int]:
        """Per run: 1 done, 2 done before, 0 stale."""
        answers, done = [], []
        for job_id, delivery in runs:
            job = self._held(job_id, delivery)
            if job is None:
                answers.append(self._verdict(job_id, delivery, "completed"))
                continue
            answers.append(1)
            job.attempts += 1
            job.state = "completed"
            done.append(job)
            self._note("job.completed", job, worker, tries=job.attempts, with_wait=True)
            self._count_run(job, "completed", duration_ms)
            self.ended(job, "completed")
        self._file(*done)
        self.token |= bool(done) and wakes
        return answers

    def postpone(
        self,
        worker: str,
        job_id: str,
        delivery: int,
        *,
        delay_ms: int,
        uses_attempt: bool,
        cause: str,
        duration_ms: float,
        series: str = "",
    ) -> int:
        """1 done, 2 done before, 0 stale."""
        job = self._held(job_id, delivery)
        if job is None:
            return self._verdict(job_id, delivery, "delayed")
        self._note(
            "job.retried" if uses_attempt else "job.snoozed", job, worker, tries=job.attempts + 1, with_wait=True
        )
        job.attempts += uses_attempt
        job.state, job.due_at = "delayed", self.now + delay_ms
        job.ready = (job.due_at, 0)
        job.cause = (cause, "f1")
        self._continue_series(job, series)
        if uses_attempt:
            self._count_run(job, "retried", duration_ms)
        else:
            self._count(f"{job.name}|snoozed", totals_only=True)
        self.token = True
        return 1

    def _continue_series(self, job: Job, series: str) -> None:
        """Of two kinds of snoozes it is known how many came in a row; to be away or to wait ends no throttling."""
        job.away = job.away + 1 if series == "away" else 0
        if series == "throttled":
            job.throttled_since = job.throttled_since or self.now
            job.throttled += 1
        elif series == "waiting":
            job.throttled_since = 0
        elif series == "":
            job.throttled = job.throttled_since = 0

    def dead_letter(self, worker: str, job_id: str, delivery: int, *, cause: str, duration_ms: float,
                    bucket: str = BUCKET) -> int:  # fmt: skip
        """1 done, 2 done before, 0 stale."""
        job = self._held(job_id, delivery)
        if job is None:
            return self._verdict(job_id, delivery, "failed")
        job.attempts += 1
        job.state, job.cause = "failed", (cause, "f1")
        self.letters[job_id] = job.cause
        for action in ("job.failed", "dlq.added"):
            self._note(action, job, worker, tries=job.attempts, with_wait=True)
        self._count_run(job, "failed", duration_ms, bucket)
        self.ended(job, "failed_again")
        self._file(job)
        self.token = True
        return 1

    def extend_leases(self, worker: str, held: Iterable[tuple[str, int]], lease_ms: int) -> list[str]:
        """The ids that are no longer the worker's."""
        lost = []
        for job_id, delivery in held:
            job = self._held(job_id, delivery)
            if job is None:
                lost.append(job_id)
            else:
                job.lease_ends = self.now + lease_ms
        self.heartbeats[worker] = self.now
        self.heartbeats = {name: at for name, at in self.heartbeats.items() if at > self.now - 20 * lease_ms}
        return lost

    def reclaim(self, worker: str, count: int, lease_ms: int) -> tuple[int, list[tuple[str, int, str]]]:
        """How many wait again, and those for the caller to bury."""
        returned, doomed = 0, []
        for job in [job for job in self.active() if job.lease_ends <= self.now][:count]:
            if job.lost == 0 or job.marked == job.delivery:
                job.lost += 1
            self._note("job.lost", job, job.worker, tries=job.attempts + 1, with_wait=True)
            self._count(f"{job.name}|lost", totals_only=True)
            if job.lost >= self.lost_limit:
                doomed.append((job.id, job.delivery + 1, job.worker))
                job.delivery, job.worker, job.lease_ends = job.delivery + 1, worker, self.now + lease_ms
            else:
                job.state = "waiting"
                returned += 1
        self.token |= returned > 0
        return returned, doomed

    def release(self, held: Iterable[tuple[str, int]]) -> int:
        """How many wait again."""
        jobs = [job for job in (self._held(*pair) for pair in held) if job is not None]
        for job in jobs:
            job.state = "waiting"
        self.token |= bool(jobs)
        return len(jobs)

    def mark_started(self, job_id: str, delivery: int) -> bool:
        """Whether the job may be begun."""
        job = self._held(job_id, delivery)
        if job is not None:
            job.marked = delivery
        return job is not None

    def note_started(self, worker: str, begun: Iterable[tuple[str, int]]) -> int:
        """How many were noted."""
        noted = 0
        for pair in begun:
            job = self._held(*pair)
            if job is not None and job.noted != job.delivery:
                job.noted = job.delivery
                self._note("job.started", job, worker, tries=job.attempts + 1, with_wait=True)
                noted += 1
        return noted

    def note_stuck(self, worker: str, job_id: str, delivery: int) -> bool:
        """Whether it was noted."""
        job = self._held(job_id, delivery)
        if job is None or job.stuck == delivery:
            return False
        job.stuck = delivery
        self._note("job.stuck", job, worker, tries=job.attempts + 1, with_wait=True)
        return True

    def report_progress(self, job_id: str, delivery: int, fraction: float, note: str) -> bool:
        """Whether it was written down."""
        job = self._held(job_id, delivery)
        if job is not None:
            job.progress = (str(fraction), note)
        return job is not None

    def ring(self) -> bool:
        """Whether there was no token."""
        was_silent, self.token = not self.token, True
        return was_silent

    # Operators -----------------------------------------------------------------------------------

    def cancel(self, job_id: str, actor: str) -> str:
        """'cancelled', or the state in the way."""
        state = self.state_of(job_id)
        if state not in ("waiting", "delayed"):
            return "already cancelled" if state == "cancelled" else state
        job = self.jobs[job_id]
        job.state = "cancelled"
        self._free_key(job)
        self._note("job.cancelled", job, actor)
        self.ended(job, "cancelled")
        self._file(job)
        return "cancelled"

    def promote(self, job_id: str, actor: str) -> str:
        """'promoted', or the state in the way."""
        state = self.state_of(job_id)
        if state != "delayed":
            return state
        self._arrive(self.jobs[job_id])
        self._note("job.promoted", self.jobs[job_id], actor)
        self.token = True
        return "promoted"

    def replay(
        self,
        failures: Iterable[tuple[str, int | None]],
        actor: str,
        payload: str = "",
        batch: str = "",
        on_skip: Callable[[str], None] = lambda why: None,
    ) -> int:
        """How many were failed, at their moment if one is given, and now wait with fresh attempts and their key."""
        replayed = 0
        for job_id, failed_at in failures:
            if why := self._why_not_replayed(job_id, failed_at, batch):
                on_skip(why)
                continue
            job = self.jobs[job_id]
            self.letters.pop(job.id, None)
            self.history["failed"].discard(job.id)
            self._note("job.replayed", job, actor, tries=job.attempts)
            job.attempts = job.lost = job.away = job.throttled = job.throttled_since = 0
            job.replays += 1
            job.batch = batch
            job.cause = job.progress = ("", "")
            job.payload, job.is_edited = payload or job.payload, job.is_edited or bool(payload)
            if job.key:
                self.keys[job.key] = (job.id, self.now + self.idempotency_ms)
            self._arrive(job)
            self.token = True
            replayed += 1
        return replayed

    def _why_not_replayed(self, job_id: str, failed_at: int | None, batch: str) -> str:
        """'' for a failure that can be."""
        if self.state_of(job_id) != "failed":
            return "other" if self.state_of(job_id) else "gone"
        job = self.jobs[job_id]
        if failed_at not in (None, job.finished_at):
            return "anew"
        if self.keys.get(job.key, (job_id, 0))[0] != job_id:
            return "key"
        return "deleted" if batch and job_id not in self.letters else ""

    def reseal(self, job_id: str, new: Callable[[str], str]) -> int:
        """How many texts of a job hold what they should; nothing else of it changes."""
        job = self.jobs.get(job_id)
        if job is None:
            return 0
        job.payload, job.request = new(job.payload), (job.request[0], new(job.request[1]))
        return 2 if job.is_edited else 1

    def delete_letters(
        self, failures: Iterable[tuple[str, int | None]], actor: str, action: str, deletion_id: str = ""
    ) -> int:
        """How many dead letters were there, each of the moment asked for; the batch deletion counts them."""
        found = [
            job_id
            for job_id, failed_at in failures
            if job_id in self.letters and failed_at in (None, self.jobs[job_id].finished_at)
        ]
        if deletion_id in self.deletions:
            self.deletions[deletion_id] += len(found)
        for job_id in found:
            del self.letters[job_id]
            job = self.jobs[job_id]
            self._free_key(job)
            self._note(action, job, actor, tries=job.attempts)
            if job_id not in self.history["failed"]:
                del self.jobs[job_id]
        return len(found)

    def flush(self, actor: str) -> int:
        """How many that had not begun were dropped."""
        dropped = self.waiting() + self.delayed()
        for job in dropped:
            self._free_key(job)
            self._note("job.dropped", job, actor)
            self.ended(job, "cancelled")
            del self.jobs[job.id]
        return len(dropped)

    def set_control(self, actor: str, action: str, fields: dict[str, str]) -> int:
        """How many fields changed."""
        changed = {name: value for name, value in fields.items() if self.control.get(name, "") != value}
        for name, value in changed.items():
            self.control.pop(name, None)
            if value:
                self.control[name] = value
        if changed:
            self._note(action, None, actor)
            self.token = True
        return len(changed)
