"""What is asked of jobs has the same answers on a Cluster, where no pipeline carries commands over nodes."""

from __future__ import annotations

import json
from typing import Any

import redis

from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.queries import JobFilter, JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import connect
from tests.support.cluster import one_node
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY


def fill(client: Any) -> None:
    """Seven jobs that wait, one that runs, three dead letters of two causes, one delayed; a worker."""
    state = State(client)
    for number in range(3):
        state.enqueue(id=f"dead-{number}", payload=json.dumps({"number": number}))
        (delivery,) = state.fetch()
        state.dead_letter(delivery, error_type=f"E{number % 2}")
    state.enqueue(id="runs")
    state.fetch()
    state.enqueue(id="later", delay_ms=86_400_000)
    for number in range(7):
        state.enqueue(id=f"waits-{number}", priority=number % 3, payload=json.dumps({"number": number}))
    client.execute_command("ZADD", KEYS.workers, 4_000_000_000_000, "w:1")
    client.set(keys.worker("w:1"), '{"thread_count": 8}', px=100_000)


def asked(client: Any) -> dict[str, Any]:
    """Answers, without what is of a moment."""
    jobs, letters = JobQueries(client, TOPOLOGY), DeadLetterQueries(client, TOPOLOGY)
    states = [state for state in JobState if state != "cancelled"]
    of_type = letters.page(QUEUE, where=DeadLetterFilter(error_type="E1")).items
    return {
        "counts": [(name, counts.waiting, counts.dlq) for name, counts in jobs.all_counts().items()],
        "lists": {state: [job.id for job in jobs.page(QUEUE, state).items] for state in states},
        "filtered": [job.id for job in jobs.page(QUEUE, JobState.WAITING, where=JobFilter(text="5")).items],
        "found": (jobs.find("runs").queue, jobs.find("runs").state),
        "letters": [(letter.original_job_id, letter.error_type) for letter in letters.page(QUEUE).items],
        "of type": [letter.original_job_id for letter in of_type],
        "groups": [(group.error_type, group.count, group.example_error) for group in letters.groups(QUEUE).items],
        "causes": [(group.error_type, group.count) for group in letters.causes(QUEUE).groups],
        "workers": [
            (worker.id, worker.thread_count, worker.is_alive, [job.job_id for job in worker.running])
            for worker in WorkerQueries(client, TOPOLOGY).all()
        ],
    }


def test_each_question_is_answered_as_on_one_server(client: redis.Redis) -> None:
    fill(client)
    with one_node() as node:
        cluster = connect(f"redis+cluster://127.0.0.1:{node.port}")
        fill(cluster)

        answers = asked(cluster)

        cluster.close()
    assert answers == asked(client)
    assert answers["lists"]["waiting"] == [f"waits-{number}" for number in (0, 3, 6, 1, 4, 2, 5)]
    assert (answers["filtered"], answers["of type"]) == (["waits-5"], ["dead-1"])
    assert answers["groups"] == [("E0", 2, "broken"), ("E1", 1, "broken")]
    assert answers["workers"] == [("w:1", 8, True, ["runs"])]
