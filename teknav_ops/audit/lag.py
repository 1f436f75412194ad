"""How far AuditLog is behind the queues' audit streams: a metric, and the ground of an alert."""

from __future__ import annotations

import dataclasses
from typing import Any

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.topology import Topology


@dataclasses.dataclass(frozen=True, slots=True)
class AuditLag:
    """A queue's entries that are not yet in AuditLog, and the age of the oldest by the server's clock.

    Both are 0 where nothing waits. For the moment between commit and trim, a batch that is in
    AuditLog already still counts.
    """

    entry_count: int
    oldest_age_ms: int


def audit_lag(client: Client, topology: Topology) -> dict[str, AuditLag]:
    """The lag of every queue, in one round trip (one per queue on a Cluster). Raises redis-py's errors."""
    answers = _answers(client, topology)
    for answer in answers.values():
        if isinstance(answer, Exception):
            raise answer
    return {name: AuditLag(*answer) for name, answer in answers.items()}


def known_lags(client: Client, topology: Topology) -> dict[str, AuditLag | None]:
    """The same, None for a queue whose structures are damaged. An outage raises redis-py's errors."""
    answers = _answers(client, topology)
    for answer in answers.values():
        if isinstance(answer, OUTAGE_ERRORS):
            raise answer
    return {name: None if isinstance(answer, Exception) else AuditLag(*answer) for name, answer in answers.items()}


def _answers(client: Client, topology: Topology) -> dict[str, Any]:
    answers = ScriptRunner(client).run_many([scripts.audit_lag(QueueKeys(name)) for name in topology])
    return dict(zip(topology, answers, strict=True))
