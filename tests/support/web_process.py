"""The API in a process of its own, on the small topology; prints a token and serves on TEST_PORT."""

from __future__ import annotations

import os
import secrets
import sys

import uvicorn

from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.settings import Settings
from teknav_ops.storage.schema import upgrade
from tests.support.topology import TOPOLOGY

if __name__ == "__main__":
    settings = Settings()
    upgrade(settings.sql_url)
    services = Services(settings, TOPOLOGY)
    secret, _ = services.entrance.tokens.create(
        Operator("test", Role.OWNER), f"test-{secrets.token_hex(4)}", role=Role.OWNER,
        scopes=[Operation.READ, Operation.ACT], life=None,
    )  # fmt: skip
    sys.stdout.write(secret + "\n")
    sys.stdout.flush()
    uvicorn.run(create_api(services), host="127.0.0.1", port=int(os.environ["TEST_PORT"]), log_level="error")
