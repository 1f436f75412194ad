"""A served API, someone who may read, and events to be told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from teknav_ops.access.policy import Operation
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.events.models import BrokenJob, JobFailed
from teknav_ops.events.publish import publish
from tests.support.redis_server import RedisServer
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until
from tests.support.web import Web, served, settings_for

Tell = Callable[..., str]


@pytest.fixture
def site(redis_server: RedisServer, tmp_path: object) -> Iterator[Web]:
    """A server of the test's own, listening already."""
    settings = settings_for(tmp_path, redis_server.url)  # type: ignore[arg-type]
    with served(create_api(Services(settings, TOPOLOGY))) as running:
        until(lambda: running.services.hub.last_id, what="the hub's first reading")
        yield running


@pytest.fixture
def token(site: Web) -> str:
    return site.token(Operation.READ)


@pytest.fixture
def tell(client: redis.Redis) -> Tell:
    """Tell that a job failed; answers the event's id. `size` makes it as long as an event can be, and longer."""

    def tell_one(queue: str = "test:work", job_id: str = "j1", *, size: int = 0, kept: int = 10_000) -> str:
        job = BrokenJob(job_id=job_id, job="work", error_type="E" * max(1, size))
        event = JobFailed(queue=queue, at_ms=int(time.time() * 1000), jobs=(job,))
        return publish(client, event, kept=kept)  # type: ignore[arg-type]

    return tell_one
