"""An entrance on a real Redis and either database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

ROOT = Operator("root", Role.OWNER)
PASSWORD = "correct horse battery"
NewEntrance = Callable[..., Entrance]


@pytest.fixture
def new_entrance(client: redis.Redis, database: Database, tmp_path: Path) -> NewEntrance:
    """Entrances of several processes on the same data."""

    def build(**changes: Any) -> Entrance:
        settings = Settings(data_dir=tmp_path, **changes)
        return Entrance(settings, client, OperatorLog(database))  # type: ignore[arg-type]

    return build


@pytest.fixture
def entrance(new_entrance: NewEntrance) -> Entrance:
    return new_entrance()


@pytest.fixture
def trail(database: Database) -> Callable[[], list[AuditLog]]:
    """What stands in AuditLog, in order."""

    def read() -> list[AuditLog]:
        with database.reading() as session:
            return list(session.scalars(select(AuditLog).order_by(AuditLog.id)))

    return read
