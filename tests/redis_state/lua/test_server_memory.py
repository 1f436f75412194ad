"""server_memory.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ScriptRunner
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS


def test_used_memory_and_its_limit_are_those_of_the_server(own_server: RedisServer) -> None:
    client = own_server.client()
    runner = ScriptRunner(client)  # type: ignore[arg-type]
    memory = runner.run(scripts.server_memory(KEYS))
    assert memory.server == client.info("server")["run_id"]
    assert memory.limit_bytes == 0 and abs(memory.used_bytes - client.info("memory")["used_memory"]) < 2**20

    client.config_set("maxmemory", 100 * 2**20)
    assert runner.run(scripts.server_memory(KEYS)).limit_bytes == 100 * 2**20
