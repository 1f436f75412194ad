"""How a job runs: attempts, verdicts, records."""

from __future__ import annotations

import itertools
import json
import logging
import time
from datetime import UTC, datetime

import pytest
import redis
from sqlalchemy import text

from teknav_ops.engine.middleware import retry
from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import PermanentError, RedisUnavailable, StorageUnavailable, Throttled, TransientError, Waiting
from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.storage.database import Database
from teknav_ops.topology import Queue, Topology
from tests.support.engine import Effects, Engine, dump
from tests.support.redis_server import RedisServer
from tests.support.topology import Confide, Work
from tests.support.waiting import until


def test_a_job_is_completed_with_its_result_and_times(engine: Engine, producer: Producer, queries: JobQueries) -> None:
    engine.behaviour = lambda job, ctx: {"doubled": job.number * 2, "متن": "فارسی"}
    accepted = producer.enqueue("test:work", "work", {"number": 21}, trace_id="ab" * 16)

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", accepted.job_id)
    assert record.state == "completed"
    assert record.result == {"doubled": 42, "متن": "فارسی"}
    assert (record.attempts_made, record.delivery, record.trace_id) == (1, 1, "ab" * 16)
    assert record.duration_ms is not None and record.duration_ms >= 0
    assert record.finished_at is not None and record.finished_at <= datetime.now(UTC)


def test_a_failing_job_is_retried_with_growing_delays_and_then_succeeds(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    def fail_twice(job: Work, ctx: JobContext[None]) -> None:
        if ctx.attempt < 3:
            raise TransientError("not yet")

    engine.behaviour = fail_twice
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert engine.runs == [(job_id, 1), (job_id, 2), (job_id, 3)]
    assert (record.state, record.attempts_made) == ("completed", 3)
    assert [attempt.error for attempt in record.attempts] == ["not yet", "not yet"]
    assert "fail_twice" in record.attempts[0].stack


def test_a_job_out_of_attempts_becomes_a_dead_letter_with_exactly_its_fields(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis, dead_letters: DeadLetterQueries
) -> None:
    def always_fail(job: Work, ctx: JobContext[None]) -> None:
        raise ValueError(f"row {job.number} is missing")

    engine.behaviour = always_fail
    job_id = producer.enqueue("test:work", "work", {"number": 7}).job_id

    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)

    letter = dead_letters.get("test:work", job_id)
    assert (letter.error_type, letter.error, letter.attempts_made) == ("ValueError", "row 7 is missing", 3)
    assert letter.payload == {"number": 7}
    assert "always_fail" in letter.stack
    assert set(client.hgetall("teknav:{test:work}:dlq:" + job_id)) == {
        "originalQueue", "originalJobId", "error", "stack", "attemptsMade", "failedAt", "payload", "traceId",
        "jobName", "errorType", "fingerprint",
    }  # fmt: skip


def test_failures_with_one_cause_form_one_group(
    engine: Engine, producer: Producer, queries: JobQueries, dead_letters: DeadLetterQueries
) -> None:
    def fail(job: Work, ctx: JobContext[None]) -> None:
        if job.number < 10:
            raise PermanentError(f"row {job.number} is missing")
        raise KeyError("name")

    engine.behaviour = fail
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(9)])
    producer.enqueue("test:work", "work", {"number": 10})

    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 10)

    groups = dead_letters.groups("test:work").items
    assert [(group.error_type, group.count) for group in groups] == [("PermanentError", 9), ("KeyError", 1)]
    assert groups[0].first_failed_at <= groups[0].last_failed_at


@pytest.mark.parametrize(
    ("error", "run_count"), [(PermanentError("no"), 1), (ConnectionRefusedError("another service is away"), 3)]
)
def test_an_errors_sort_says_how_often_a_job_is_tried(
    engine: Engine, producer: Producer, queries: JobQueries, error: Exception, run_count: int
) -> None:
    def fail(job: Work, ctx: JobContext[None]) -> None:
        raise error

    engine.behaviour = fail
    producer.enqueue("test:work", "work", {"number": 1})

    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)

    assert len(engine.runs) == run_count


def test_a_throttled_job_waits_as_asked_and_uses_no_attempt(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    started: list[float] = []

    def throttled_at_first(job: Work, ctx: JobContext[None]) -> None:
        started.append(time.monotonic())
        if len(started) < 5:
            raise Throttled("slow down", retry_after_seconds=0.15)

    engine.behaviour = throttled_at_first
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert (record.state, record.attempts_made, record.delivery) == ("completed", 1, 5)
    assert min(later - earlier for earlier, later in itertools.pairwise(started)) >= 0.15


@pytest.mark.parametrize(
    "error", [StorageUnavailable("no answer"), RedisUnavailable("full"), redis.ConnectionError("cut")]
)
def test_what_is_ours_may_be_away_for_longer_than_attempts_last(
    engine: Engine, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 20)

    def away_at_first(job: Work, ctx: JobContext[None]) -> None:
        if len(engine.runs) < 8:
            raise error

    engine.behaviour = away_at_first
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert (record.state, record.attempts_made, record.delivery) == ("completed", 1, 8)


def test_what_stays_away_is_a_failure_in_the_end(
    engine: Engine, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 20)
    monkeypatch.setattr(retry, "AWAY_SNOOZES", 5)

    def away(job: Work, ctx: JobContext[None]) -> None:
        raise StorageUnavailable("no answer")

    engine.behaviour = away
    producer.enqueue("test:work", "work", {"number": 1})

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    # Five snoozes, then the three attempts of this queue.
    assert queries.counts("test:work").dlq == 1 and len(engine.runs) == 8


def test_how_long_a_job_waits_for_what_is_away_does_not_hang_on_what_it_lived_through_before(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 20)

    def away_once(job: Work, ctx: JobContext[None]) -> None:
        if len(engine.runs) == 1:
            raise StorageUnavailable("no answer")

    engine.behaviour = away_once
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    # As after some replays, each of which had met an outage.
    client.hset(QueueKeys("test:work").job(job_id), "delivery", 1_000)
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert (record.state, record.attempts_made, record.delivery) == ("completed", 1, 1_002)


def throttled_engine(redis_server: RedisServer, cipher: object, **policy: int) -> Engine:
    retry_policy = RetryPolicy(attempts=3, min_backoff_ms=20, max_backoff_ms=60, **policy)
    topology = Topology(Queue(name="test:work", purpose="x", jobs={"work": Work}, retry=retry_policy))
    return Engine(redis_server.url, cipher, topology=topology)  # type: ignore[arg-type]


def test_who_is_throttled_again_and_again_waits_longer_each_time_and_is_a_dead_letter_that_says_so(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LEAST_SNOOZE_MS", 10)
    engine, started = throttled_engine(redis_server, cipher, throttle_limit_count=4), []

    def throttled(job: Work, ctx: JobContext[None]) -> None:
        started.append(time.monotonic())
        raise Throttled("slow down", retry_after_seconds=0.001)

    engine.behaviour = throttled
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)
        first = queries.get("test:work", job_id)
        # A replay has all of it before it again.
        replay = scripts.replay_dead_letters(QueueKeys("test:work"), actor="t", failures=[(job_id, None)])
        ScriptRunner(engine.broker.client).run(replay)
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    pauses = [later - earlier for earlier, later in itertools.pairwise(started[:5])]
    assert all(pause >= 0.01 * 2**number for number, pause in enumerate(pauses))
    assert (first.state, first.error_type, first.delivery) == ("failed", "ThrottledTooLong", 5)
    assert "5 times over 0.0 h (limit 4 times, 24 h), at last by Throttled: slow down" in (first.error or "")
    again = queries.get("test:work", job_id)
    assert (again.state, again.error_type, again.delivery) == ("failed", "ThrottledTooLong", 10)


def test_no_pause_is_longer_than_throttling_may_last_and_then_the_job_is_given_up(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries
) -> None:
    engine = throttled_engine(redis_server, cipher, throttle_limit_ms=150)

    def ask_for_a_year(job: Work, ctx: JobContext[None]) -> None:
        raise Throttled("next year", retry_after_seconds=365 * 86_400)

    engine.behaviour = ask_for_a_year
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    record = queries.get("test:work", job_id)
    assert (record.state, record.error_type, record.delivery) == ("failed", "ThrottledTooLong", 2)


def test_what_waits_for_something_of_ours_may_wait_as_often_as_it_likes(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries
) -> None:
    engine = throttled_engine(redis_server, cipher, throttle_limit_count=2, throttle_limit_ms=1)

    def wait_for_a_person(job: Work, ctx: JobContext[None]) -> None:
        if len(engine.runs) < 6:
            raise Waiting("a person decides", retry_after_seconds=0.001)

    engine.behaviour = wait_for_a_person
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    record = queries.get("test:work", job_id)
    assert (record.state, record.delivery) == ("completed", 6)


def test_what_sql_will_never_do_is_a_dead_letter_at_once(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    def ask_in_vain(job: Work, ctx: JobContext[None]) -> None:
        with Database.open("sqlite://").session() as session:
            session.execute(text("select * from nowhere"))

    engine.behaviour = ask_in_vain
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert (record.state, record.error_type, record.delivery) == ("failed", "StorageRefused", 1)
    assert record.error == "the database refuses this: no such table: nowhere"


def test_retry_after_is_honoured_when_it_is_longer_than_the_backoff(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    def ask_for_a_minute(job: Work, ctx: JobContext[None]) -> None:
        raise TransientError("busy", retry_after_seconds=60)

    engine.behaviour = ask_for_a_minute
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id

    with engine.working():
        until(lambda: queries.counts("test:work").delayed == 1)

    due_at = queries.get("test:work", job_id).due_at
    assert due_at is not None and 55 < (due_at - datetime.now(UTC)).total_seconds() <= 60


def test_a_payload_that_no_longer_fits_never_reaches_the_processor(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis, dead_letters: DeadLetterQueries
) -> None:
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    client.hset("teknav:{test:work}:job:" + job_id, "payload", '{"number": "many", "colour": "red"}')

    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)

    letter = dead_letters.get("test:work", job_id)
    assert engine.runs == []
    assert letter.error_type == "InvalidPayload"
    assert "number: " in letter.error and "colour: " in letter.error


@pytest.mark.parametrize("damage", ["not json", "[1, 2]", ""])
def test_a_damaged_payload_is_set_aside_and_others_go_on(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis,
    dead_letters: DeadLetterQueries, damage: str,
) -> None:  # fmt: skip
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    client.hset("teknav:{test:work}:job:" + job_id, "payload", damage)
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(5)])

    with engine.working():
        until(lambda: queries.counts("test:work").completed == 5)
        until(lambda: queries.counts("test:work").dlq == 1)

    letter = dead_letters.get("test:work", job_id)
    assert letter.error_type == "CorruptRecord"
    assert letter.payload == damage or letter.payload == [1, 2]


def test_a_record_of_the_wrong_type_is_set_aside_and_others_go_on(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    client.delete("teknav:{test:work}:job:" + job_id)
    client.set("teknav:{test:work}:job:" + job_id, "what is this")
    producer.enqueue("test:work", "work", {"number": 2})

    with engine.working():
        until(lambda: queries.counts("test:work").completed == 1)

    assert queries.counts("test:work").corrupt == 1


def test_a_secret_is_in_clear_nowhere(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis, capfd: pytest.CaptureFixture[str],
    dead_letters: DeadLetterQueries,
) -> None:  # fmt: skip
    seen: list[str] = []

    def blurt(job: Confide, ctx: JobContext[None]) -> None:
        seen.append(job.secret.get_secret_value())
        ctx.log.warning("delivering", secret=job.secret.get_secret_value())
        raise PermanentError(f"the gateway refused {job.secret.get_secret_value()}")

    engine.behaviour = blurt
    job_id = producer.enqueue("test:work", "confide", {"secret": "hunter2-سری"}).job_id
    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)

    assert seen == ["hunter2-سری"]
    assert "hunter2" not in str(dump(client))
    assert "hunter2" not in capfd.readouterr().err
    letter = dead_letters.get("test:work", job_id)
    assert letter.error == "the gateway refused ••••"
    assert letter.payload == {"secret": "••••"}


def test_no_log_line_of_any_level_holds_a_payload(
    engine: Engine, producer: Producer, queries: JobQueries, caplog: pytest.LogCaptureFixture
) -> None:
    failures = {
        "completed": None,
        "unexpected": KeyError("k"),
        "permanent": PermanentError("p"),
        "transient": TransientError("t"),
        "throttled": Throttled("s", retry_after_seconds=0.01),
    }

    def end(job: Confide, ctx: JobContext[None]) -> None:
        failure = failures[job.note.partition(" ")[0]]
        if failure is not None and ctx.delivery < 5:
            raise failure

    engine.behaviour = end
    caplog.set_level(logging.DEBUG)
    with engine.working():
        for kind in failures:
            producer.enqueue("test:work", "confide", {"secret": "hunter2", "note": f"{kind} of a reader"})
        engine.broker.join("test:work", timeout=30_000)

    assert queries.counts("test:work").completed >= 1 and queries.counts("test:work").dlq >= 2
    lines = [record.getMessage() for record in caplog.records] + [str(record.exc_text) for record in caplog.records]
    assert any("with unhandled exception" in line for line in lines)
    assert not [line for line in lines if "of a reader" in line or "hunter2" in line]


@pytest.mark.parametrize("field", ["secret", "note"])
def test_a_ciphertext_that_was_copied_from_another_job_is_decrypted_nowhere(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis, field: str
) -> None:
    told: list[str] = []
    engine.behaviour = lambda job, ctx: told.append(f"{job.secret.get_secret_value()} {job.note}")
    keys = QueueKeys("test:work")
    ids = [producer.enqueue("test:work", "confide", {"secret": text, "note": "n"}).job_id for text in ("one", "two")]
    first, second = (json.loads(client.hget(keys.job(job_id), "payload") or "") for job_id in ids)
    client.hset(keys.job(ids[1]), "payload", json.dumps(second | {field: first["secret"]}))

    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)

    record = queries.get("test:work", ids[1])
    assert told == ["one n"]
    assert record.error_type == "InvalidPayload" and f"{field}: the secret was encrypted for another" in str(
        record.error
    )


def test_a_redelivered_job_whose_effect_is_recorded_is_not_run_again(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries
) -> None:
    effects = Effects()
    engine = Engine(redis_server.url, cipher, effects=effects)  # type: ignore[arg-type]

    def record_then_fail(job: Work, ctx: JobContext[None]) -> None:
        effects.recorded[ctx.job_id] = {"sent": True}
        raise TransientError("the connection broke after the effect")

    engine.behaviour = record_then_fail
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    assert len(engine.runs) == 1
    assert queries.get("test:work", job_id).result == {"sent": True}


def test_a_job_is_not_begun_again_where_its_effect_could_not_be_recorded(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 20)
    effects = Effects()
    engine = Engine(redis_server.url, cipher, effects=effects)  # type: ignore[arg-type]

    def have_the_effect_and_fail_to_record_it(job: Work, ctx: JobContext[None]) -> None:
        if len(engine.runs) == 1:
            effects.is_writable = False
            raise StorageUnavailable("the database takes no writes")
        effects.recorded[ctx.job_id] = {"sent": True}

    engine.behaviour = have_the_effect_and_fail_to_record_it
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with engine.working():
        until(lambda: queries.get("test:work", job_id).delivery > 6, what="many hand-overs")
        assert len(engine.runs) == 1
        effects.is_writable = True
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    assert len(engine.runs) == 2
    assert queries.get("test:work", job_id).attempts_made == 1


def test_a_ledger_that_cannot_be_read_stops_the_job_instead_of_letting_it_run_twice(
    redis_server: RedisServer, cipher: object, producer: Producer, queries: JobQueries
) -> None:
    class Broken:
        def find(self, job_id: str) -> None:
            raise OSError("the disk is gone")

    engine = Engine(redis_server.url, cipher, effects=Broken())  # type: ignore[arg-type]
    engine.behaviour = lambda job, ctx: (_ for _ in ()).throw(TransientError("once"))
    producer.enqueue("test:work", "work", {"number": 1})
    with engine.working():
        until(lambda: queries.counts("test:work").dlq == 1)
    engine.close()

    assert len(engine.runs) == 1


def test_a_job_over_its_time_limit_is_interrupted_and_retried(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    engine.broker.actors["work"].options["time_limit"] = 300

    def too_long(job: Work, ctx: JobContext[None]) -> None:
        if ctx.attempt == 1:
            until(lambda: False, what="the end of a job that has none")

    engine.behaviour = too_long
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    engine.broker.emit_after("process_boot")
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert record.state == "completed"
    assert record.attempts[0].error_type == "TimeLimitExceeded"


def test_progress_is_visible_while_the_job_runs(engine: Engine, producer: Producer, queries: JobQueries) -> None:
    seen: list[tuple[float | None, str | None]] = []

    def report(job: Work, ctx: JobContext[None]) -> None:
        ctx.report_progress(0.5, "half")
        record = queries.get("test:work", ctx.job_id)
        seen.append((record.progress, record.progress_note))

    engine.behaviour = report
    producer.enqueue("test:work", "work", {"number": 1})
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    assert seen == [(0.5, "half")]
