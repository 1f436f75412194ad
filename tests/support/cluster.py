"""A real Cluster of three nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.support.redis_server import RedisServer, free_port, new_folder, remove_folder
from tests.support.waiting import until


def slots_known(client: redis.Redis) -> int:
    """How many slots this node would name a holder for, as `CLUSTER SLOTS` tells those who connect."""
    answer = client.execute_command("CLUSTER INFO")
    return int(answer["cluster_slots_assigned"])


@contextmanager
def three_nodes() -> Iterator[list[RedisServer]]:
    """Three primaries that share the slots, stopped afterwards."""
    folders = [new_folder() for _ in range(3)]
    nodes, bus_ports = [], []
    for folder in folders:
        # By default the bus is 10,000 above the port, which may be no port at all.
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
            # A node knows another before it knows that one's slots, and calls itself "ok" with a part of them.
            until(lambda client=client: slots_known(client) == 16_384, what="a node to know who has each slot")
    try:
        yield nodes
    finally:
        for node in nodes:
            node.stop()
        for folder in folders:
            remove_folder(folder)
