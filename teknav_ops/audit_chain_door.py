"""The part of the operators' door that is about the chain over the audit trail."""

from __future__ import annotations

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.chain.anchor import Anchor, move_anchor, read_anchor
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.deletions import checked_reason
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client


class AuditChain:
    """What operators may do about the chain. They come through `control.py`."""

    def __init__(self, client: Client, operator_log: OperatorLog, operator: Operator) -> None:
        self._client = client
        self._log = operator_log
        self._operator = operator

    @needs(Operation.ADMINISTER)
    def accept(self, *, reason: str) -> Anchor | None:
        """Take the chain as it is, after SQL was restored: its newest link becomes the anchor. None without links.

        Raises:
            InvalidRequest: no reason is given.
        """
        reason = checked_reason(reason)
        before = read_anchor(self._client)
        told = None if before is None else f"{before.number}:{before.hash}"
        with self._log.record("audit.chain_accepted", actor=self._operator.name, reason=reason, before=told) as entry:
            with source_of(self._log.database) as source:
                anchor = move_anchor(self._client, source, None)
            if anchor is None:
                # Not one link is left: the first that comes is the anchor.
                self._client.execute_command("DEL", keys.AUDIT_ANCHOR)
            entry.note(anchor=None if anchor is None else f"{anchor.number}:{anchor.hash}")
        return anchor
