"""From the audit trail to events: each thing once, and never too many messages."""

from __future__ import annotations

import json
import threading
import time

import pytest
import redis

from teknav_ops.audit.writer import AuditWriter
from teknav_ops.events import relay as relay_module
from teknav_ops.events.models import DeadLetterAdded, JobCompleted, JobFailed, QueueConfigured, QueuePaused
from teknav_ops.events.relay import EventRelay
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import EVENTS_CHANNEL, EVENTS_CURSORS, EVENTS_STREAM
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.storage.database import Database
from tests.events.conftest import MakeRelay
from tests.support import warm_python
from tests.support.cluster import three_nodes
from tests.support.completed_jobs import complete_jobs
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.relays import await_beginning, relay_for_ever, stepping, told, told_count
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until


def test_each_job_that_ends_is_told_with_what_is_needed_to_look_further(
    relay: EventRelay, engine: Engine, producer: Producer, client: redis.Redis
) -> None:
    def behave(job: object, ctx: object) -> None:
        if getattr(job, "secret", None):
            raise ValueError("no such card: 4242-4242")

    engine.behaviour = behave
    with stepping(relay), engine.working():
        good = producer.enqueue("test:work", "work", {"number": 1}, trace_id="ab" * 16).job_id
        bad = producer.enqueue("test:work", "confide", {"secret": "hunter2", "note": "for her"}).job_id
        until(lambda: {event.type for event in told(client)} == {"job.completed", "job.failed", "dlq.added"})

    completed, failed, letter = sorted(told(client), key=lambda event: ["c", "f", "a"].index(event.type[4]))
    assert isinstance(completed, JobCompleted) and isinstance(failed, JobFailed) and isinstance(letter, DeadLetterAdded)
    assert completed.queue == "test:work" and completed.count == 1
    assert [(job.job_id, job.job, job.trace_id) for job in completed.jobs] == [(good, "work", "ab" * 16)]
    assert (completed.jobs[0].duration_ms or -1) >= 0
    for event in (failed, letter):
        assert [(job.job_id, job.error_type) for job in event.jobs] == [(bad, "ValueError")]
        assert event.jobs[0].fingerprint
    everything = json.dumps(client.xrange(EVENTS_STREAM))
    assert not any(secret in everything for secret in ("4242", "hunter2", "for her"))


def test_an_operators_actions_on_a_queue_are_told_in_their_order(relay: EventRelay, client: redis.Redis) -> None:
    changes = {"paused": {"paused": "1"}, "configured": {"concurrency": "2"}, "resumed": {"paused": ""}}
    for change, fields in changes.items():
        ScriptRunner(client).run(scripts.set_control(KEYS, actor="sara", action=f"queue.{change}", fields=fields))  # type: ignore[arg-type]
    relay.step()

    events = told(client)
    assert [event.type for event in events] == ["queue.paused", "queue.configured", "queue.resumed"]
    paused, configured, _ = events
    assert isinstance(paused, QueuePaused) and (paused.queue, paused.actor) == ("test:work", "sara")
    assert isinstance(configured, QueueConfigured) and configured.detail == "concurrency:  -> 2"
    assert paused.at_ms == int(client.xrange(KEYS.audit)[0][0].partition("-")[0])


def test_the_channel_carries_the_same_events_with_their_ids(relay: EventRelay, client: redis.Redis) -> None:
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(EVENTS_CHANNEL)
    listener.get_message(timeout=45)
    complete_jobs(client, 2, group=1)
    relay.step()

    heard = [json.loads((listener.get_message(timeout=45) or {})["data"]) for _ in range(2)]
    listener.close()
    assert [message["id"] for message in heard] == [event_id for event_id, _ in client.xrange(EVENTS_STREAM)]
    assert heard[0]["v"] == 1 and heard[0]["atMs"] and heard[0]["jobs"][0].keys() == {
        "jobId", "job", "durationMs", "traceId",
    }  # fmt: skip


def test_few_are_told_one_by_one_and_many_as_one_with_an_exact_count(
    make_relay: MakeRelay, client: redis.Redis
) -> None:
    relay = make_relay(per_second=5)
    relay.step()
    complete_jobs(client, 4, group=1)
    relay.step()
    assert [event.count for event in told(client)] == [1, 1, 1, 1]  # type: ignore[union-attr]

    complete_jobs(client, 200)
    until(lambda: relay.step() and told_count(client, "job.completed") == 204)

    events = told(client)[4:]
    assert sum(event.count for event in events) == 200 and len(events) <= 3  # type: ignore[union-attr]
    assert max(len(event.jobs) for event in events) == 20  # type: ignore[union-attr]


def test_a_flood_of_completions_becomes_a_bounded_number_of_messages_that_add_up(
    relay: EventRelay, client: redis.Redis
) -> None:
    begun = time.monotonic()
    with stepping(relay):
        complete_jobs(client, 20_000)
        until(lambda: told_count(client, "job.completed") >= 20_000)
    seconds = time.monotonic() - begun

    assert told_count(client, "job.completed") == 20_000
    # So many at once, and so many per second from then on.
    assert len(told(client)) <= 20 + 20 * seconds


def test_a_first_relay_begins_with_what_happens_from_then_on(make_relay: MakeRelay, client: redis.Redis) -> None:
    complete_jobs(client, 10)
    relay = make_relay()
    relay.step()
    assert told(client) == []

    complete_jobs(client, 3, group=1)
    relay.step()
    assert told_count(client, "job.completed") == 3


def test_what_happened_between_two_relays_is_told_by_the_second(
    relay: EventRelay, make_relay: MakeRelay, client: redis.Redis
) -> None:
    complete_jobs(client, 30)
    successor = make_relay()
    until(lambda: successor.step() and told_count(client, "job.completed") == 30)


def test_what_was_trimmed_before_it_was_told_does_not_stop_the_relay(
    relay: EventRelay, make_relay: MakeRelay, client: redis.Redis
) -> None:
    complete_jobs(client, 50)
    client.xtrim(KEYS.audit, maxlen=0, approximate=False)
    complete_jobs(client, 2, group=1)

    successor = make_relay()
    until(lambda: successor.step() and told_count(client, "job.completed") == 2)


def test_an_entry_that_makes_no_sense_does_not_stop_the_relay(relay: EventRelay, client: redis.Redis) -> None:
    client.xadd(KEYS.audit, {"action": "job.completed", "duration_ms": "soon"})
    client.xadd(KEYS.audit, {"nothing": "at all"})
    complete_jobs(client, 1)
    relay.step()

    assert told_count(client, "job.completed") == 2


def test_a_write_whose_answer_was_lost_is_not_made_twice(relay: EventRelay, client: redis.Redis) -> None:
    run_many = relay._runner.run_many

    def lose_the_answer(calls: list[scripts.Call[object]]) -> list[object]:
        run_many(calls)
        relay._runner.run_many = run_many  # type: ignore[method-assign]
        raise redis.exceptions.ConnectionError("the answer was lost")

    relay._runner.run_many = lose_the_answer  # type: ignore[method-assign, assignment]
    complete_jobs(client, 5, group=1)
    with pytest.raises(redis.exceptions.ConnectionError):
        relay.step()
    complete_jobs(client, 1)
    until(lambda: relay.step() and told_count(client, "job.completed") >= 6)

    assert told_count(client, "job.completed") == 6


def test_two_relays_at_once_tell_everything_once(make_relay: MakeRelay, redis_server: RedisServer) -> None:
    with redis_server.client() as first, redis_server.client() as second, redis_server.client() as client:
        with stepping(make_relay(first)), stepping(make_relay(second)):
            await_beginning(client)
            complete_jobs(client, 5_000)
            until(lambda: told_count(client, "job.completed") >= 5_000)
        assert told_count(client, "job.completed") == 5_000
        sampled = [job.job_id for event in told(client) for job in event.jobs]  # type: ignore[union-attr]
        assert len(sampled) == len(set(sampled))


def test_a_relay_killed_in_a_flood_and_replaced_loses_and_doubles_nothing(
    make_relay: MakeRelay, redis_server: RedisServer, client: redis.Redis
) -> None:
    flood = threading.Thread(target=complete_jobs, args=(client, 20_000))
    for deaths in range(3):
        process = warm_python.start_function(relay_for_ever, redis_server.url)
        await_beginning(client)
        if not deaths:
            flood.start()
        before = client.xlen(EVENTS_STREAM)
        until(lambda before=before: client.xlen(EVENTS_STREAM) > before + 2 or not flood.is_alive())
        process.kill()
        process.wait()
    with redis_server.client() as another, stepping(make_relay(another)):
        flood.join()
        until(lambda: told_count(client, "job.completed") >= 20_000)

    assert told_count(client, "job.completed") == 20_000
    sampled = [job.job_id for event in told(client) for job in event.jobs]  # type: ignore[union-attr]
    assert len(sampled) == len(set(sampled))


def test_a_restart_of_redis_is_waited_out(make_relay: MakeRelay, own_server: RedisServer) -> None:
    with own_server.client() as client, stepping(make_relay(own_server.client())):
        await_beginning(client)
        complete_jobs(client, 500)
        own_server.kill()
        own_server.start()
        complete_jobs(client, 500)
        until(lambda: told_count(client, "job.completed") >= 1_000)
        assert told_count(client, "job.completed") == 1_000


def test_lost_cursors_are_written_anew(relay: EventRelay, client: redis.Redis) -> None:
    client.delete(EVENTS_CURSORS)
    complete_jobs(client, 3, group=1)

    until(lambda: relay.step() and told_count(client, "job.completed") == 3)
    assert "test:work" in client.hgetall(EVENTS_CURSORS)


def test_a_backlog_is_counted_through_and_little_of_it_is_held(
    relay: EventRelay, make_relay: MakeRelay, client: redis.Redis
) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(60_000):
        pipeline.xadd(KEYS.audit, {"action": "job.completed", "job_id": str(number), "job_name": "work"})
    pipeline.execute()

    successor = make_relay()
    until(lambda: successor.step() and told_count(client, "job.completed") == 60_000, seconds=60)

    assert max(len(event.jobs) for event in told(client)) == 20  # type: ignore[union-attr]


def test_a_relay_that_leaves_tells_all_there_is(relay: EventRelay, client: redis.Redis) -> None:
    complete_jobs(client, 3_000)

    assert relay.catch_up(30)
    assert told_count(client, "job.completed") == 3_000
    assert relay.catch_up(30)


def test_what_has_not_been_told_may_not_be_moved(make_relay: MakeRelay, client: redis.Redis) -> None:
    relay = make_relay(per_second=1)
    assert relay.told_up_to("test:work") == "0-0"
    relay.step()
    complete_jobs(client, 1)
    relay.step()
    assert relay.told_up_to("test:work") == client.xinfo_stream(KEYS.audit)["last-generated-id"]

    # A second event within the second waits for its turn.
    last_told = relay.told_up_to("test:work")
    complete_jobs(client, 1)
    relay._read(0.1)
    assert told_count(client, "job.completed") == 1 and relay.told_up_to("test:work") == last_told
    assert relay.catch_up(30)
    assert relay.told_up_to("test:work") == client.xinfo_stream(KEYS.audit)["last-generated-id"]


def test_a_relay_that_is_stuck_is_not_waited_for(
    relay: EventRelay, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PATIENCE_SECONDS", 0.3)
    assert relay.told_up_to("test:work")
    until(lambda: relay.told_up_to("test:work") is None)

    relay.step()
    assert relay.told_up_to("test:work")


def test_nothing_is_moved_away_from_under_the_relay(
    make_relay: MakeRelay, redis_server: RedisServer, client: redis.Redis, database: Database
) -> None:
    with redis_server.client() as first, redis_server.client() as second:
        relay = make_relay(first)
        writer = AuditWriter(second, database, TOPOLOGY, told_up_to=relay.told_up_to)  # type: ignore[arg-type]
        stopped = threading.Event()

        def move() -> None:
            while not stopped.is_set():
                writer.step()

        mover = threading.Thread(target=move, daemon=True)
        with stepping(relay):
            await_beginning(client)
            mover.start()
            complete_jobs(client, 400, group=1)
            until(lambda: told_count(client, "job.completed") >= 400 or client.xlen(KEYS.audit) == 0)
            until(lambda: client.xlen(KEYS.audit) == 0)
        stopped.set()
        mover.join(30)

    assert told_count(client, "job.completed") == 400


def test_the_cursor_follows_entries_of_which_nobody_is_told(relay: EventRelay, client: redis.Redis) -> None:
    state, before = State(client), client.hget(EVENTS_CURSORS, KEYS.queue)
    for _ in range(20):
        pipeline = client.pipeline(transaction=False)
        for _ in range(250):
            pipeline.xadd(KEYS.audit, {"action": "job.enqueued"})
        pipeline.execute()
    assert state.actions()[-1] == "job.enqueued"

    until(lambda: relay.step() and client.hget(EVENTS_CURSORS, KEYS.queue) != before)
    assert told(client) == []


def test_on_a_cluster_the_queues_of_all_slots_are_told(make_relay: MakeRelay) -> None:
    with three_nodes() as nodes:
        client = connect(f"redis+cluster://127.0.0.1:{nodes[0].port}")
        with stepping(make_relay(client)):
            await_beginning(client)
            complete_jobs(client, 30)
            complete_jobs(client, 40, queue="test:other", job="other")
            until(lambda: told_count(client, "job.completed") >= 70)
        assert {event.queue for event in told(client)} == {"test:work", "test:other"}
        assert told_count(client, "job.completed") == 70
        client.close()
