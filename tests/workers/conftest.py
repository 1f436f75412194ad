"""Services on real databases and folders, and the context a processor gets."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.engine.processor import JobContext
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from tests.conftest import SECRET_KEY
from tests.support.redis_server import RedisServer
from workers.services import Services, open_services

MakeContext = Callable[..., JobContext[Services]]
MakeSettings = Callable[..., Settings]
MakeServices = Callable[..., Services]


@pytest.fixture
def make_settings(database: Database, database_url: str, redis_server: RedisServer, tmp_path: Path) -> MakeSettings:
    """Settings on this test's database, Redis and folder; more by name."""

    def make(**facts: Any) -> Settings:
        values = {"data_dir": tmp_path, "redis_url": redis_server.url, "database_url": database_url,
                  "secret_key": SECRET_KEY, "outbound_allowed_networks": ["127.0.0.0/8"]}  # fmt: skip
        return Settings(**{**values, **facts})

    return make


@pytest.fixture
def make_services(make_settings: MakeSettings) -> Iterator[MakeServices]:
    """Real services with settings of the test's own."""
    opened: list[Services] = []

    def make(**facts: Any) -> Services:
        opened.append(open_services(make_settings(**facts)))
        return opened[-1]

    yield make
    for services in opened:
        services.database.dispose()


@pytest.fixture
def services(make_services: MakeServices) -> Services:
    """The real services; for others use `make_services` or `dataclasses.replace`."""
    return make_services()


@pytest.fixture
def control(services: Services, client: redis.Redis) -> Control:
    """What an owner may do, on this test's database."""
    assert services.cipher is not None
    operator = Operator("owner", Role.OWNER)
    return Control(client, operator, OperatorLog(services.database), cipher=services.cipher)


@pytest.fixture
def make_context(services: Services) -> MakeContext:
    """Builds the context of a fresh job, or of a given one."""

    def make(job_id: str | None = None, queue: str = "test", **facts: object) -> JobContext[Services]:
        values = {"attempt": 1, "delivery": 1, "services": services, **facts}
        return JobContext(
            job_id=job_id or str(uuid.uuid4()),
            queue=queue,
            name="test",
            trace_id="",
            log=structlog.get_logger(),
            **values,
        )  # type: ignore[arg-type]

    return make
