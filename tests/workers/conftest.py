"""Services on real databases and folders, and the context a processor gets."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from teknav_ops.engine.processor import JobContext
from teknav_ops.storage.database import Database
from workers.services import Services
from workers.services.mail import OutboxMailer
from workers.services.media import MediaStore

MakeContext = Callable[..., JobContext[Services]]


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return Services(database, OutboxMailer(tmp_path / "outbox"), MediaStore(tmp_path / "media"))


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
