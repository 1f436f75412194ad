"""Streams read as Redis answers: a list of names and values per entry, where redis-py would build a dictionary."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from teknav_ops.redis_state.connection import Client, OneServer, is_cluster

#: An entry's id, and its fields as name, value, name, value, …
Entry: TypeAlias = tuple[str, list[str]]


class StreamReader:
    """Reads on the connections of a client. On a Cluster entries are built from redis-py's answers, which is slower."""

    def __init__(self, client: Client) -> None:
        self._is_cluster = is_cluster(client)
        self._client = client if self._is_cluster else _plain(client)

    def read(self, key: str, *, after: str, count: int, until: str = "+") -> list[Entry]:
        """Up to `count` entries after an id, and up to another, oldest first. Raises redis-py's errors."""
        answer: Any = self._client.execute_command("XRANGE", key, f"({after}", until, "COUNT", count)
        if self._is_cluster:
            return [(stream_id, [part for pair in fields.items() for part in pair]) for stream_id, fields in answer]
        return cast("list[Entry]", answer)


def _plain(client: Client) -> Client:
    # A client of its own: the other users of these connections go on to get dictionaries.
    plain = OneServer(connection_pool=cast(OneServer, client).connection_pool)
    plain.set_response_callback("XRANGE", lambda answer, **_: answer)
    return cast(Client, plain)
