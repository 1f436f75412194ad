"""Whether anything lies under keys: one command for hundreds of them, as long as nothing does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from teknav_ops.redis_state.connection import Client, is_cluster


def is_any_present(client: Client, groups: Iterable[Sequence[str]]) -> bool:
    """Whether any key of any group exists. On a Cluster all must be of one slot."""
    keys = [key for group in groups for key in group]
    return bool(keys) and client.exists(*keys) > 0


def which_are_present(client: Client, groups: Sequence[Sequence[str]]) -> list[bool]:
    """For each group whether any of its keys exists; one round trip."""
    if is_cluster(client) or len(groups) < 2:
        return [is_any_present(client, [group]) for group in groups]
    pipeline = client.pipeline(transaction=False)
    for group in groups:
        pipeline.execute_command("EXISTS", *group)
    return [count > 0 for count in pipeline.execute()]
