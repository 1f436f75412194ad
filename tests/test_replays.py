"""Batch replays on record: named, listed, run by one process at a time, taken over when it dies."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from teknav_ops.errors import InvalidRequest, UnknownJob, WrongState
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.replay_runner import ReplayRunner
from teknav_ops.replays import Replays
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until

EVERYTHING = DeadLetterFilter()


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


@pytest.fixture
def replays(client: redis.Redis, dead_letters: DeadLetterQueries) -> Replays:
    return Replays(client, dead_letters, TOPOLOGY)  # type: ignore[arg-type]


def preview(replays: Replays, where: DeadLetterFilter = EVERYTHING, **chosen: object) -> Replay:
    return replays.preview(QUEUE, where, **{"limit": 1_000, "operator": "sara", **chosen})  # type: ignore[arg-type]


def run(client: redis.Redis, replays: Replays, plan: Replay, **more: object) -> Replay:
    runner = ReplayRunner(client, replays, lease_ms=300)  # type: ignore[arg-type]
    return runner.run(QUEUE, plan.id, actor="sara", on_progress=lambda _: None, **more)  # type: ignore[arg-type]


def test_a_preview_counts_its_causes_and_keeps_its_name(replays: Replays, state: State) -> None:
    first, second = state.dead(), state.dead()

    plan = preview(replays, name="incident 7")

    assert (plan.name, plan.total_count, plan.counts_by_error_type) == ("incident 7", 2, {"ValueError": 2})
    assert [(cause.error_type, cause.fingerprint, cause.count) for cause in plan.causes] == [("ValueError", "f1", 2)]
    assert state.places(first) == state.places(second) == ["failed"]


def test_chosen_jobs_are_frozen_once_each_and_the_missing_counted(
    client: redis.Redis, replays: Replays, state: State
) -> None:
    chosen, other = state.dead(), state.dead()

    plan = preview(replays, job_ids=[chosen, "ghost", chosen])
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None)
    done = run(client, replays, plan)

    assert (plan.total_count, plan.missing_count) == (1, 1)
    assert (done.state, done.replayed_count) == ("finished", 1)
    assert (state.places(chosen), state.places(other)) == (["waiting"], ["failed"])


def test_all_queues_replays_are_listed_newest_first_page_by_page(client: redis.Redis, replays: Replays) -> None:
    made = []
    for number in range(5):
        queue = list(TOPOLOGY)[number % 2]
        made.append(replays.preview(queue, EVERYTHING, limit=1, operator="sara", name=f"n{number}"))
        # Two within one millisecond have no order.
        client.zadd(QueueKeys(queue).replays, {made[-1].id: number + 1})

    first = replays.page(limit=3)
    rest = replays.page(cursor=first.next_cursor, limit=3)

    assert [replay.name for replay in first.items + rest.items] == ["n4", "n3", "n2", "n1", "n0"]
    assert (first.total_count, rest.next_cursor) == (5, None)
    assert [replay.name for replay in replays.page(queue=QUEUE).items] == ["n4", "n2", "n0"]


def test_what_ran_out_leaves_the_list(client: redis.Redis, replays: Replays) -> None:
    gone = preview(replays)
    client.delete(KEYS.replay(gone.id))

    kept = preview(replays)

    assert [replay.id for replay in replays.page().items] == [kept.id]
    assert client.zcard(KEYS.replays) == 1


def test_twenty_starts_are_one_run(client: redis.Redis, replays: Replays, state: State) -> None:
    dead = [state.dead() for _ in range(150)]
    plan = preview(replays)
    changes = [replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None) for _ in range(20)]

    threads = [threading.Thread(target=run, args=(client, replays, plan)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert changes == [True] + [False] * 19
    done = replays.get(QUEUE, plan.id)
    assert (done.state, done.done_count, done.replayed_count) == ("finished", 150, 150)
    assert client.llen(KEYS.waiting) == len(dead)
    assert replays.running() == []
    assert replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None) is False


def test_another_process_goes_on_where_a_dead_one_stood(client: redis.Redis, replays: Replays, state: State) -> None:
    for _ in range(6):
        state.dead()
    plan = preview(replays)
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=2)
    dead = ReplayRunner(client, replays, lease_ms=300)  # type: ignore[arg-type]
    assert dead.is_free(QUEUE, plan.id)
    dead._turn(KEYS, replays.get(QUEUE, plan.id), "sara", threading.Event())

    other = ReplayRunner(client, replays)  # type: ignore[arg-type]
    until(lambda: other.is_free(QUEUE, plan.id), what="the dead runner's lease running out")
    replays.start(QUEUE, plan.id, actor="ali", rate_per_second=1_000)
    done = other.run(QUEUE, plan.id, actor="sara", on_progress=lambda _: None)

    assert (done.state, done.done_count, done.replayed_count, done.started_by) == ("finished", 6, 6, "sara")


def test_an_abort_is_noticed_in_the_middle_of_a_pause(client: redis.Redis, replays: Replays, state: State) -> None:
    for _ in range(3):
        state.dead()
    plan = preview(replays)
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=0.05)
    ended: list[Replay] = []
    thread = threading.Thread(target=lambda: ended.append(run(client, replays, plan)))
    thread.start()
    until(lambda: replays.get(QUEUE, plan.id).done_count == 1)

    assert replays.abort(QUEUE, plan.id, actor="ali") is True
    begun = time.monotonic()
    thread.join()

    # The pause itself would be twenty seconds.
    assert time.monotonic() - begun < 10
    assert (ended[0].state, ended[0].aborted_by, ended[0].replayed_count) == ("aborted", "ali", 1)
    assert replays.abort(QUEUE, plan.id, actor="ali") is False
    with pytest.raises(WrongState, match="aborted"):
        replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None)


def test_a_server_that_stops_leaves_the_rest_to_the_next(client: redis.Redis, replays: Replays, state: State) -> None:
    for _ in range(3):
        state.dead()
    plan = preview(replays)
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=0.05)
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(client, replays, plan), kwargs={"stopped": stopped})
    thread.start()
    until(lambda: replays.get(QUEUE, plan.id).done_count == 1)

    stopped.set()
    thread.join()

    assert replays.running() == [(QUEUE, plan.id)]
    assert client.hget(KEYS.replay(plan.id), "runner") is None


@pytest.mark.parametrize("rate", [0, -1, 0.01, 1e9, float("nan")])
def test_a_rate_has_bounds(replays: Replays, rate: float) -> None:
    with pytest.raises(InvalidRequest, match="rate"):
        replays.start(QUEUE, preview(replays).id, actor="sara", rate_per_second=rate)


@pytest.mark.parametrize("chosen", [{"name": "x" * 121}, {"name": "a\nb"}, {"job_ids": ["a", "b"], "limit": 1}])
def test_what_a_preview_refuses(replays: Replays, chosen: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        preview(replays, **chosen)


def test_a_replay_that_does_not_exist_is_named(replays: Replays) -> None:
    for ask in (
        lambda: replays.get(QUEUE, "ghost"),
        lambda: replays.start(QUEUE, "ghost", actor="sara", rate_per_second=None),
        lambda: replays.abort(QUEUE, "ghost", actor="sara"),
    ):
        with pytest.raises(UnknownJob, match="no batch replay 'ghost'"):
            ask()


def test_what_became_of_each_job_is_told_by_outcome_and_cause(
    client: redis.Redis, replays: Replays, state: State
) -> None:
    dead = {name: state.dead() for name in ("completed", "again", "retried", "cancelled", "by hand", "anew", "gone")}
    state.dead(idempotency_key="k")
    deleted = state.dead()
    plan = preview(replays)
    client.set(KEYS.idempotency_family + "k", "another job")
    state.run(scripts.replay_dead_letters(KEYS, actor="a", failures=[(dead["by hand"], None)]))
    client.hset(KEYS.job(dead["anew"]), "finished_at_ms", 1)
    client.delete(KEYS.job(dead["gone"]))
    state.run(scripts.delete_dead_letters(KEYS, actor="a", action="dlq.deleted", failures=[(deleted, None)]))

    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None)
    done = run(client, replays, plan)

    assert (done.replayed_count, done.unsettled_count) == (4, 4)
    assert done.skipped_by_reason == {"other": 1, "anew": 1, "gone": 1, "key": 1, "deleted": 1}
    assert done.skipped_count == 5 and client.hget(KEYS.job(deleted), "state") == "failed"
    state.run(scripts.cancel(KEYS, job_id=dead["cancelled"], actor="a", cancelled_kept=10))
    for delivery in state.fetch(10):
        if delivery.id == dead["completed"]:
            state.complete(delivery)
        elif delivery.id == dead["again"]:
            state.dead_letter(delivery)
        elif delivery.id == dead["retried"]:
            state.postpone(delivery)

    now = replays.get(QUEUE, plan.id)
    assert (now.completed_count, now.failed_again_count, now.cancelled_count, now.unsettled_count) == (1, 1, 1, 1)
    assert [(cause.error_type, cause.fingerprint, cause.count) for cause in now.failed_again] == [
        ("ValueError", "f1", 1)
    ]
    assert now.outcome == (
        "1 completed, 1 failed again (ValueError 1), 1 still waiting or running, 1 taken out; "
        "5 skipped: 1 failed anew meanwhile, 1 deleted meanwhile, 1 no longer kept, "
        "1 whose key another job has now, 1 not failed any more"
    )


def test_what_failed_again_is_found_and_replayed_by_its_replay(
    client: redis.Redis, replays: Replays, dead_letters: DeadLetterQueries, state: State
) -> None:
    first, second, _other = state.dead(), state.dead(), state.dead()
    plan = preview(replays, job_ids=[first, second])
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=None)
    run(client, replays, plan)
    for delivery in state.fetch(2):
        state.dead_letter(delivery)

    where = DeadLetterFilter(replay=plan.id)
    again = preview(replays, where=where)
    found = dead_letters.page(QUEUE, where=where).items
    assert {letter.original_job_id for letter in found} == {first, second}
    assert again.total_count == again.matching_count == 2
    replays.start(QUEUE, again.id, actor="sara", rate_per_second=None)
    run(client, replays, again)
    (delivery,) = state.fetch(1)
    state.dead_letter(delivery)

    # It belongs to the newer replay now; the older one's counts stay what they were.
    assert dead_letters.page(QUEUE, where=where).items == []
    assert replays.get(QUEUE, plan.id).failed_again_count == 2
    newer = dead_letters.page(QUEUE, where=DeadLetterFilter(replay=again.id)).items
    assert [letter.original_job_id for letter in newer] == [delivery.id]


def test_those_that_run_are_found_however_many_were_previewed_since(replays: Replays, state: State) -> None:
    state.dead()
    plan = preview(replays)
    replays.start(QUEUE, plan.id, actor="sara", rate_per_second=1)
    for _ in range(5):
        preview(replays)

    assert [replay.id for replay in replays.running_of(QUEUE)] == [plan.id]
    replays.abort(QUEUE, plan.id, actor="olga")
    assert replays.running_of(QUEUE) == []
