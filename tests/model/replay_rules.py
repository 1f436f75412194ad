"""The rules of the play that are about replays: of single dead letters, and of batches by a runner."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import BatchTurn
from tests.model import differences as differ
from tests.model.differences import expect
from tests.model.stage import BATCH_KEPT_MS, IDEMPOTENCY_MS, Stage, choose, picks, there_is
from tests.support.state import KEYS

RUNNER_LEASE_MS = 10_000
runners = st.sampled_from(["r:1", "r:2"])
moves = st.sampled_from(["running", "running", "finished", "aborted"])


class ReplayRules(Stage):
    """Failed jobs go back to wait."""

    @precondition(there_is("failed"))
    @rule(which=st.lists(picks, min_size=1, max_size=3, unique=True), payload=st.sampled_from(["", '{"number":3}']))
    def replay(self, which: list[int], payload: str) -> None:
        self._replay(list(dict.fromkeys(self.known(pick, "failed") for pick in which)), payload)

    def _replay(self, job_ids: list[str], payload: str) -> None:
        failures = [(job_id, None) for job_id in job_ids]
        call = scripts.replay_dead_letters(
            KEYS, actor="owner", failures=failures, payload=payload, idempotency_ms=IDEMPOTENCY_MS
        )
        expect(differ.AnswerDiffers, "replay", self.model.replay(failures, "owner", payload), self.state.run(call))

    @precondition(lambda self: self.model.letters)
    @rule(is_held=st.booleans(), rate=st.sampled_from(["", "5"]))
    def a_batch_is_started(self, is_held: bool, rate: str) -> None:
        """A list is frozen and let run; a runner may come at once."""
        self._preview()
        replay_id = f"batch-{self.batch_count}"
        self._move(replay_id, "running", "owner", rate)
        if is_held:
            self._hold(replay_id, "r:1", RUNNER_LEASE_MS)

    @precondition(lambda self: self.model.letters)
    @rule()
    def preview_a_batch(self) -> None:
        self._preview()

    def _preview(self) -> None:
        """As `Replays.preview` does, which is no script; what is only previewed is kept as long as the play."""
        self.batch_count += 1
        replay_id = f"batch-{self.batch_count}"
        failures = [(job_id, self.model.jobs[job_id].finished_at) for job_id in self.model.letters]
        self.client.hset(KEYS.replay(replay_id), mapping={"state": "previewed"})
        self.client.rpush(KEYS.replay_ids(replay_id), *(f"{job_id}|{at}" for job_id, at in failures))
        self.replays.preview(replay_id, failures)

    def _batch(self, pick: int) -> str:
        running = [name for name, batch in self.replays.batches.items() if batch.state == "running"]
        return choose(pick, running, ["no such batch", *(f"batch-{i + 1}" for i in range(self.batch_count))])

    @precondition(lambda self: self.batch_count)
    @rule(pick=picks, wanted=moves, by=runners, rate=st.sampled_from(["", "5", "9"]))
    def move_a_batch(self, pick: int, wanted: Any, by: str, rate: str) -> None:
        self._move(self._batch(pick), wanted, by, rate)

    def _move(self, replay_id: str, wanted: Any, by: str, rate: str) -> None:
        call = scripts.move_replay(KEYS, replay_id, wanted=wanted, by=by, rate=rate, kept_ms=BATCH_KEPT_MS)
        expect(
            differ.AnswerDiffers, "move_replay", self.replays.move(replay_id, wanted, by, rate), self.state.run(call)
        )

    @precondition(lambda self: self.batch_count)
    @rule(pick=picks, runner=runners, lease_ms=st.sampled_from([RUNNER_LEASE_MS, RUNNER_LEASE_MS, 0]))
    def hold_a_batch(self, pick: int, runner: str, lease_ms: int) -> None:
        self._hold(self._batch(pick), runner, lease_ms)

    def _hold(self, replay_id: str, runner: str, lease_ms: int) -> None:
        call = scripts.hold_replay(KEYS, replay_id, runner=runner, lease_ms=lease_ms, kept_ms=BATCH_KEPT_MS)
        expect(
            differ.AnswerDiffers, "hold_replay", self.replays.hold(replay_id, runner, lease_ms), self.state.run(call)
        )

    @precondition(lambda self: self.replays.running)
    @rule(pick=picks, runner=runners, behind=st.sampled_from([0, 0, 0, 1]), count=st.integers(1, 2))
    def go_on_with_a_batch(self, pick: int, runner: str, behind: int, count: int) -> None:
        """A runner replays the next few of the list; one that was overtaken knows of fewer that are done."""
        self._go_on(self._batch(pick), runner, behind, count)

    @precondition(lambda self: self.replays.running)
    @rule(pick=picks, silent_ms=st.sampled_from([RUNNER_LEASE_MS - 1, RUNNER_LEASE_MS]), is_first_done=st.booleans())
    def a_runner_falls_silent(self, pick: int, silent_ms: int, is_first_done: bool) -> None:
        """Another comes at the end of its lease, or just before; then the first one wakes, and knows of nothing."""
        replay_id = self._batch(pick)
        self._hold(replay_id, "r:1", RUNNER_LEASE_MS)
        if is_first_done:
            self._go_on(replay_id, "r:1", 0, 1)
        self.time_passes(silent_ms)
        self._hold(replay_id, "r:2", RUNNER_LEASE_MS)
        self._go_on(replay_id, "r:1", 0, 1)
        self._go_on(replay_id, "r:2", 1, 1)

    def _go_on(self, replay_id: str, runner: str, behind: int, count: int) -> None:
        batch = self.replays.batches.get(replay_id)
        done = max(0, batch.done - behind) if batch else 0
        failures = batch.failures[done : done + count] if batch else []
        turn = BatchTurn(replay_id, runner, done)
        call = scripts.replay_dead_letters(
            KEYS, actor="owner", failures=failures, turn=turn, idempotency_ms=IDEMPOTENCY_MS
        )
        intended = self.replays.go_on(replay_id, runner, done, failures, "owner")
        expect(differ.AnswerDiffers, "replay in a batch", intended, self.state.run(call))
