"""What a server that refuses writes for now raises, however it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, connect
from teknav_ops.redis_state.refusals import RefusedForNow
from teknav_ops.redis_state.scripts import ScriptRunner
from tests.support.cluster import one_node
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


def piped(client: Client, *, transaction: bool, raise_on_error: bool = True) -> list[Any]:
    pipeline = client.pipeline(transaction=transaction)
    pipeline.hset("{k}", "field", "value")
    pipeline.rpush("{k}:list", "caused error: MISCONF")
    return pipeline.execute(raise_on_error=raise_on_error)


def raised(client: Client) -> None:
    """Answers that are looked at one by one."""
    raise piped(client, transaction=False, raise_on_error=False)[0]


WRITES: dict[str, Callable[[Client], Any]] = {
    "command": lambda client: client.set("k", "v", px=1_000),
    "command by name": lambda client: client.execute_command("PEXPIRE", "k", 1_000),
    "trim": lambda client: client.xtrim("k", minid="1-0", approximate=False),
    "pipeline": lambda client: piped(client, transaction=False),
    "answers of a pipeline": raised,
    "transaction": lambda client: piped(client, transaction=True),
    "script": lambda client: ScriptRunner(client).run(scripts.put_text("k", text="v", ttl_ms=1_000)),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_server_that_takes_no_writes_for_now_is_an_outage_for_each_command(
    own_server: RedisServer, write: str
) -> None:
    own_server.client().config_set("min-replicas-to-write", 1)
    client = connect(own_server.url)

    with pytest.raises(RefusedForNow, match="NOREPLICAS") as caught:
        WRITES[write](client)
    assert isinstance(caught.value, OUTAGE_ERRORS)
    client.close()


def test_so_it_is_on_a_cluster() -> None:
    with one_node() as node:
        node.client().config_set("min-replicas-to-write", 1)
        # The first that is named need not be there.
        client = connect(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{node.port}")
        for write in sorted(WRITES.keys() - {"transaction"}):
            with pytest.raises(RefusedForNow, match="NOREPLICAS"):
                WRITES[write](client)
        client.close()


@pytest.mark.filterwarnings("ignore:.*lib_name.*:DeprecationWarning")
@pytest.mark.parametrize(("options", "library"), [("", "redis-py"), ("?lib_name=teknav", "teknav")])
def test_the_server_lists_the_library_that_the_url_names(redis_server: RedisServer, options: str, library: str) -> None:
    client = connect(redis_server.url + options)

    assert f"lib-name={library} " in str(client.execute_command("CLIENT", "INFO"))
    client.close()


def test_what_is_refused_for_good_stays_so(own_server: RedisServer) -> None:
    client = connect(own_server.url)
    client.rpush("k", "1")  # type: ignore[attr-defined]
    for ask in (lambda: client.get("k"), lambda: client.hset("k", "a", "b")):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            ask()
    client.close()
