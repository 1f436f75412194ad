"""Real Clusters, of one node and of three."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import redis
from redis.crc import key_slot

from tests.support.folders import new_folder, remove_folder
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import until


def is_whole(client: redis.Redis) -> bool:
    """Whether this node takes commands, and would name a holder for each slot: it may do either without the other."""
    answer = client.execute_command("CLUSTER INFO")
    return answer["cluster_state"] == "ok" and answer["cluster_slots_assigned"] == "16384"


@contextmanager
def one_node() -> Iterator[RedisServer]:
    """A node that holds all slots, stopped afterwards."""
    folder = new_folder()
    # By default the bus is 10,000 above the port, which may be no port at all.
    server = RedisServer(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()
    try:
        with server.client() as node:
            node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            until(lambda: is_whole(node), what="a whole Cluster")
        yield server
    finally:
        server.stop()
        remove_folder(folder)


@contextmanager
def three_nodes() -> Iterator[list[RedisServer]]:
    """Three primaries that share the slots, stopped afterwards."""
    folders = [new_folder() for _ in range(3)]
    nodes, bus_ports = [], []
    for folder in folders:
        bus_ports.append(free_port())
        options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_ports[-1]))
        nodes.append(RedisServer(folder, *options, "--cluster-require-full-coverage", "no").start())
    slots = [range(5461), range(5461, 10923), range(10923, 16384)]
    for node, owned in zip(nodes, slots, strict=True):
        with node.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", owned.start, owned.stop - 1)
            client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, bus_ports[0])
    for node in nodes:
        with node.client() as client:
            until(lambda client=client: is_whole(client), what="a whole Cluster")
    try:
        yield nodes
    finally:
        for node in nodes:
            node.stop()
        for folder in folders:
            remove_folder(folder)


def begin_to_move(key: str, nodes: Sequence[RedisServer]) -> Callable[[], object]:
    """Let one key of this one's slot go to another node; the answer moves the rest, and ends it."""
    slot = key_slot(key.encode())
    clients = [node.client() for node in nodes]
    counts = [client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) for client in clients]
    holder = counts.index(max(counts))
    source, target = clients[holder], clients[holder - 1]
    source_id, target_id = (client.execute_command("CLUSTER MYID") for client in (source, target))
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)

    def move(count: int) -> bool:
        keys = source.execute_command("CLUSTER GETKEYSINSLOT", slot, count)
        if keys:
            source.execute_command("MIGRATE", "127.0.0.1", nodes[holder - 1].port, "", 0, 5_000, "KEYS", *keys)
        return not keys

    def end() -> None:
        until(lambda: move(100), what="an empty slot")
        for client in (target, source, *clients):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
            client.close()

    move(1)
    return end
