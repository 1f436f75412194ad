"""Connections to Redis, whatever form it takes: one server, Sentinel, or a Cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import ConnectionPool
from redis.driver_info import DriverInfo
from redis.exceptions import (
    ClusterError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from teknav_ops.redis_state.refusals import RefusedForNow, SortedErrors

#: What the server lists as the client's library. redis-py looks its version up at each connection that has none.
_LIBRARY: Final = DriverInfo()


#: What a lost, overloaded, full or failing-over Redis raises. Anything else is a bug or a refusal.
OUTAGE_ERRORS: tuple[type[Exception], ...] = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    RedisClusterException,
    # Down, or a slot lies on two nodes while it moves: redis-py has tried again for half a second.
    ClusterError,
    TryAgainError,
    OutOfMemoryError,
    RefusedForNow,
    ConnectionError,
)

#: Connections of one client at most; who finds all in use waits for one.
_MOST_CONNECTIONS: Final = 50


class Pipeline(Protocol):
    """Commands gathered for one round trip."""

    def execute_command(self, *args: Any) -> Any: ...
    def hgetall(self, name: str) -> Any: ...
    def hmget(self, name: str, keys: list[str]) -> Any: ...
    def zrange(self, name: str, start: int, end: int, *, withscores: bool) -> Any: ...
    def hget(self, name: str, key: str) -> Any: ...
    def hset(
        self, name: str, key: str | None = None, value: Any = None, mapping: Mapping[str, Any] | None = None
    ) -> Any: ...
    def hincrby(self, name: str, key: str, amount: int) -> Any: ...
    def expire(self, name: str, time: int) -> Any: ...
    def rpush(self, name: str, *values: Any) -> Any: ...
    def execute(self, raise_on_error: bool = True) -> list[Any]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: Any) -> None: ...


class Client(Protocol):
    """The commands used outside scripts. Answers are text: `connect` decodes them."""

    def execute_command(self, *args: Any) -> Any: ...
    def pipeline(self, transaction: bool = True) -> Pipeline: ...
    def ping(self) -> bool: ...
    def info(self, section: str | None = None) -> dict[str, Any]: ...
    def exists(self, *names: str) -> int: ...
    def scan_iter(self, match: str, count: int) -> Iterator[str]: ...
    def publish(self, channel: str, message: str) -> int: ...
    def get(self, name: str) -> str | None: ...
    def set(self, name: str, value: str, *, px: int | None = None, nx: bool = False) -> bool | None: ...
    def hget(self, name: str, key: str) -> str | None: ...
    def hgetall(self, name: str) -> dict[str, str]: ...
    def hset(
        self, name: str, key: str | None = None, value: Any = None, mapping: Mapping[str, Any] | None = None
    ) -> int: ...
    def hmget(self, name: str, keys: list[str]) -> list[str | None]: ...
    def llen(self, name: str) -> int: ...
    def lrange(self, name: str, start: int, end: int) -> list[str]: ...
    def blpop(self, keys: list[str], timeout: float) -> Any: ...
    def zcard(self, name: str) -> int: ...
    def zcount(self, name: str, min: Any, max: Any) -> int: ...
    def zrange(self, name: str, start: int, end: int, *, withscores: bool) -> list[tuple[str, float]]: ...
    def zrangebyscore(self, name: str, min: Any, max: Any, start: int, num: int) -> list[str]: ...
    def zrevrangebyscore(self, name: str, max: Any, min: Any, start: int, num: int) -> list[str]: ...
    def xrange(self, name: str, min: str, max: str, count: int) -> list[tuple[str, dict[str, str]]]: ...
    def xtrim(self, name: str, *, minid: str, approximate: bool) -> int: ...
    def close(self) -> None: ...


class _PatientPool(ConnectionPool):
    """A pool whose callers wait until a connection is free, where redis-py would raise at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._queueing = 0
        self._freed = threading.Semaphore(0)
        super().__init__(*args, **kwargs)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """A connection. Raises MaxConnectionsError when none came free within the socket's timeout."""
        try:
            return super().get_connection(*args, **options)
        except MaxConnectionsError:
            return self._wait_for_connection(*args, **options)

    def _wait_for_connection(self, *args: Any, **options: Any) -> Any:
        deadline = time.monotonic() + (self.connection_kwargs.get("socket_timeout") or 5.0)
        # From here on each release is told of, so one between a refusal and the wait is not missed.
        self._queueing += 1
        try:
            while True:
                try:
                    return super().get_connection(*args, **options)
                except MaxConnectionsError:
                    if not self._freed.acquire(timeout=max(0.0, deadline - time.monotonic())):
                        raise
        finally:
            self._queueing -= 1

    def release(self, connection: Any) -> None:
        """Give a connection back; whoever waits for one is told."""
        super().release(connection)
        if self._queueing:
            self._freed.release()


class _PatientSentinelPool(_PatientPool, SentinelConnectionPool):
    """Likewise, of connections to the primary that a Sentinel names."""


def connect(
    url: str, *, timeout_seconds: float = 5.0, retry_count: int = 2, max_connections: int = _MOST_CONNECTIONS
) -> Client:
    """A thread-safe client. It connects at the first command, so this never fails on an outage.

    `redis://`, `rediss://` and `unix://` name one server; `redis+sentinel://host:port,host:port/service/db`
    follows a Sentinel's primary; `redis+cluster://host:port,host:port` is a Cluster.
    A command that an outage cuts off is tried again `retry_count` times. Who finds all `max_connections` (of a
    Cluster: to one node) in use waits for one, for `timeout_seconds` at most.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        # A record damaged in Redis must be readable enough to be set aside.
        "encoding_errors": "replace",
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), retry_count),
        "health_check_interval": 30,
        "protocol": 2,
        "max_connections": max_connections,
    }
    scheme = urlsplit(url).scheme
    if not _names_library(url):
        options["driver_info"] = _LIBRARY
    if scheme == "redis+sentinel":
        return _sentinel(url, options)
    if scheme == "redis+cluster":
        return _cluster(url, options)
    return cast(Client, OneServer.from_pool(_PatientPool.from_url(url, **options)))


class OneServer(SortedErrors, Redis):
    """One server."""


class _Cluster(SortedErrors, RedisCluster):
    """A Cluster."""


def is_wrong_type(answer: Any) -> bool:
    """Whether a command was refused since its key holds something else, which only another tool can have put there."""
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


def is_cluster(client: Client) -> bool:
    """Whether commands are routed by slot, so that a pipeline cannot carry scripts."""
    return isinstance(client, RedisCluster)


def _names_library(url: str) -> bool:
    """Whether an option of the URL says what the server lists as the client's library."""
    return bool({"lib_name", "lib_version"} & parse_qs(urlsplit(url).query).keys())


def _hosts(url: str, default_port: int) -> list[tuple[str, int]]:
    netloc = urlsplit(url).netloc.rpartition("@")[2]
    pairs = (part.partition(":") for part in netloc.split(","))
    return [(host, int(port or default_port)) for host, _, port in pairs]


def _credentials(url: str) -> dict[str, str]:
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    named = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in named.items() if value}


def _sentinel(url: str, options: dict[str, Any]) -> Client:
    service, _, db = urlsplit(url).path.strip("/").partition("/")
    watchers: Any = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(url, 26379), sentinel_kwargs={"socket_timeout": options["socket_timeout"]}
    )
    options |= _credentials(url) | {"db": int(db or 0), "connection_pool_class": _PatientSentinelPool}
    return cast(Client, watchers.master_for(service, redis_class=_ClientOfSentinel, **options))


class _ClientOfSentinel(SortedErrors, Redis):
    """A client of the primary that a Sentinel names. Closing it closes what asked the Sentinels, too."""

    def close(self) -> None:
        super().close()
        pool: Any = self.connection_pool
        for watcher in pool.sentinel_manager.sentinels:
            watcher.close()


def _cluster(url: str, options: dict[str, Any]) -> Client:
    new_node: Any = ClusterNode
    first, *others = _hosts(url, 6379)
    nodes = [new_node(host, port) for host, port in others]
    options |= _credentials(url)
    # Only where it is given a URL does it make its pools of the class that it is given.
    cluster = _Cluster(
        url=f"redis://{first[0]}:{first[1]}", startup_nodes=nodes, connection_pool_class=_PatientPool, **options
    )
    # RedisCluster offers the commands used here with the same signatures.
    return cast(Client, cluster)
