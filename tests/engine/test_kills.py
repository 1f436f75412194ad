"""What must survive: SIGKILL of a worker in every phase of a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from tests.conftest import SECRET_KEY
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.support.workers import Workers


@pytest.fixture
def workers(redis_server: RedisServer, tmp_path: Path) -> Iterator[Workers]:
    fleet = Workers(redis_server.url, tmp_path, SECRET_KEY)
    yield fleet
    fleet.stop_all()


def is_settled(queries: JobQueries) -> bool:
    counts = queries.counts("test:work")
    return counts.waiting + counts.active + counts.delayed == 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("script", ["fetch", "complete", "postpone", "dead_letter", "extend_leases"])
def test_a_worker_killed_around_a_state_change_loses_and_doubles_nothing(
    workers: Workers, producer: Producer, queries: JobQueries, moment: str, script: str
) -> None:
    data = [{"number": n, "fail_times": (0, 1, 9)[n % 3], "seconds": 0.05} for n in range(30)]
    ids = [accepted.job_id for accepted in producer.enqueue_many("test:work", "work", data)]

    workers.start(crash=f"{moment}:{script}")
    until((workers.folder / "crashed").exists, what="the crash")
    workers.start()
    until(lambda: is_settled(queries), seconds=40, what="every job's end")

    counts = queries.counts("test:work")
    assert (counts.completed, counts.failed, counts.dlq) == (20, 10, 10), workers.logs()
    succeeded = {job_id for job_id, entry in zip(ids, data, strict=True) if entry["fail_times"] < 3}
    assert workers.recorded() == succeeded
    assert workers.happened() == dict.fromkeys(succeeded, 1)


def test_a_job_that_kills_its_worker_is_dead_lettered_after_three_and_others_go_on(
    workers: Workers, producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    poison = producer.enqueue("test:work", "poison", {}).job_id
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(40)])

    # Dramatiq's master ends with its worker, as a service manager expects; one that restarts is played here.
    for _ in range(3):
        master = workers.start(threads=2)
        until(lambda master=master: master.poll() is not None, what="the worker's death")
    workers.start()
    until(lambda: is_settled(queries), seconds=40, what="every job's end")

    record = queries.get("test:work", poison)
    assert (record.state, record.error_type) == ("failed", "WorkerLost")
    assert queries.counts("test:work").completed == 40
    assert queries.counts("test:work").dlq == 1
