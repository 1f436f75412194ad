"""What a batch replay means to be, in plain Python: a frozen list of failures that one runner at a time goes through.

- It is previewed, runs once it is started, and ends finished by its runner or aborted by anybody. What has ended stays
  as it is.
- A runner holds it until its lease ends; then another may take it. Only who holds it, and knows how many of the list
  are done, goes on: so no failure is replayed twice, whoever died in between.
- A failure is a job and the moment it failed: one that failed anew since, or whose dead letter was deleted, is left
  alone.
- Each job that it put back is counted once: completed, failed again (also by cause, and listed), or taken out. What it
  left alone is counted by why.
- It goes some time after it last moved; who is told a rate, or holds it, moves it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tests.model.engine_model import EngineModel
from tests.model.records import Job


@dataclasses.dataclass
class Batch:
    """One batch replay: its frozen failures, and what is on record of it."""

    failures: list[tuple[str, int]]
    facts: dict[str, str]
    #: When the record and the list go; None while it was only previewed.
    ends_at: int | None = None
    list_ends_at: int | None = None
    has_list: bool = True
    #: Jobs that failed again after it, with when; and when that list goes.
    again: dict[str, float] = dataclasses.field(default_factory=dict)
    again_ends_at: int | None = None

    @property
    def state(self) -> str:
        """previewed, running, finished or aborted."""
        return self.facts["state"]

    @property
    def done(self) -> int:
        """How many of its failures were gone through."""
        return int(self.facts.get("done", 0))


class BatchReplays:
    """All batch replays of the model's queue."""

    def __init__(self, model: EngineModel, *, kept_ms: int) -> None:
        self.model = model
        self.kept_ms = kept_ms
        self.batches: dict[str, Batch] = {}
        #: Those that were started and have not ended, also when their record has gone.
        self.running: set[str] = set()
        model.ended = self._settle

    def preview(self, replay_id: str, failures: Sequence[tuple[str, int]]) -> None:
        """A list of failures is frozen."""
        self.batches[replay_id] = Batch(list(failures), {"state": "previewed"})

    def forget_expired(self) -> None:
        """What was kept long enough goes."""
        now = self.model.now
        for replay_id, batch in list(self.batches.items()):
            if batch.ends_at is not None and batch.ends_at <= now:
                del self.batches[replay_id]
            elif batch.again_ends_at is not None and batch.again_ends_at <= now:
                batch.again, batch.again_ends_at = {}, None

    def _settle(self, job: Job, outcome: str) -> None:
        """A job that was replayed has ended, or failed once more."""
        batch, job.batch = self.batches.get(job.batch), ""
        if batch is not None:
            _count(batch, outcome)
            if outcome == "failed_again":
                _count(batch, f"again:{'|'.join(job.cause)}")
                batch.again[job.id], batch.again_ends_at = self.model.now, batch.ends_at

    def _keep(self, batch: Batch, *, with_list: bool) -> None:
        batch.ends_at = self.model.now + self.kept_ms
        if with_list and batch.has_list:
            batch.list_ends_at = batch.ends_at

    def move(self, replay_id: str, wanted: str, by: str, rate: str) -> tuple[str, bool]:
        """The state it is in, and whether something changed."""
        batch = self.batches.get(replay_id)
        if batch is None:
            return "", False
        if wanted == "running":
            is_changed = self._start(replay_id, batch, by, rate)
        else:
            is_changed = self._end(replay_id, batch, wanted, by)
        if is_changed:
            self._keep(batch, with_list=wanted == "running")
        return batch.state, is_changed

    def _start(self, replay_id: str, batch: Batch, by: str, rate: str) -> bool:
        is_new_rate = rate not in ("", batch.facts.get("rate"))
        if batch.state not in ("previewed", "running") or (batch.state == "running" and not is_new_rate):
            return False
        if is_new_rate:
            batch.facts["rate"] = rate
        if batch.state == "previewed":
            batch.facts |= {"state": "running", "started_by": by, "started_at_ms": str(self.model.now)}
            self.running.add(replay_id)
        return True

    def _end(self, replay_id: str, batch: Batch, wanted: str, by: str) -> bool:
        if wanted == "finished":
            may = batch.state == "running" and batch.facts.get("runner") == by
        else:
            may = batch.state in ("previewed", "running")
        if may:
            batch.facts |= {"state": wanted, "ended_at_ms": str(self.model.now)}
            batch.facts |= {"aborted_by": by} if wanted == "aborted" else {}
            batch.has_list, batch.list_ends_at = False, None
            self.running.discard(replay_id)
        return may

    def hold(self, replay_id: str, runner: str, lease_ms: int) -> str:
        """'ours', 'held' by another, or the state in the way."""
        batch = self.batches.get(replay_id)
        if batch is None or batch.state != "running":
            return batch.state if batch else ""
        holder = batch.facts.get("runner", runner)
        if holder != runner and int(batch.facts["runner_until_ms"]) > self.model.now:
            return "held"
        batch.facts |= {"runner": runner, "runner_until_ms": str(self.model.now + lease_ms)}
        if not lease_ms:
            del batch.facts["runner"], batch.facts["runner_until_ms"]
        self._keep(batch, with_list=True)
        return "ours"

    def go_on(self, replay_id: str, runner: str, done: int, failures: Sequence[tuple[str, int]], actor: str) -> int:
        """How many were replayed; -1 when it is not the runner's to go on with, or not from there."""
        batch = self.batches.get(replay_id)
        if batch is None or (batch.state, batch.facts.get("runner"), batch.done) != ("running", runner, done):
            return -1
        replayed = self.model.replay(
            failures, actor, batch=replay_id, on_skip=lambda why: _count(batch, f"skipped:{why}")
        )
        batch.facts["done"] = str(done + len(failures))
        batch.facts["replayed"] = str(int(batch.facts.get("replayed", 0)) + replayed)
        return replayed


def _count(batch: Batch, name: str) -> None:
    batch.facts[name] = str(int(batch.facts.get(name, 0)) + 1)
