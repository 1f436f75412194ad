"""Options of Dramatiq's own producer: what would be passed over, or end a job that never ran, is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.queries import JobQueries
from tests.support.engine import Engine
from tests.support.state import State

QUEUE = "test:work"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("eta", value) for value in (1, 2**41, "x", True)),
        *((name, value) for name in ("time_limit", "min_backoff", "max_backoff") for value in ("5", 0, -5, 0.5, True)),
        *(("max_retries", value) for value in ("3", -1, 1e300, True)),
        ("time_limit", None),
        ("throws", "ValueError"),
        ("retry_when", "x"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name_and_nothing_is_written(
    engine: Engine, client: redis.Redis, name: str, value: Any
) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{name}: "):
        engine.broker.actors["work"].send_with_options(kwargs={"number": 1}, **{name: value})
    assert client.dbsize() == 0


@pytest.mark.parametrize("options", [{"eta": None}, {"max_retries": None}, {"max_retries": 0}, {"time_limit": 60_000}])
def test_others_are_taken(engine: Engine, queries: JobQueries, options: dict[str, Any]) -> None:
    engine.broker.actors["work"].send_with_options(kwargs={"number": 1}, **options)
    with engine.working():
        engine.broker.join(QUEUE, timeout=60_000)

    assert len(engine.runs) == 1 and queries.counts(QUEUE).completed == 1


def test_a_job_that_was_accepted_with_an_eta_is_run(engine: Engine, client: redis.Redis, queries: JobQueries) -> None:
    job_id = State(client).enqueue(options='{"options": {"eta": 1}}')
    with engine.working():
        engine.broker.join(QUEUE, timeout=60_000)

    assert engine.runs == [(job_id, 1)] and queries.counts(QUEUE).completed == 1
