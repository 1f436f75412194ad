"""What `teknav doctor` says of the audit trail: its newest rows, its end, and what the scheduler found."""

from __future__ import annotations

from typing import Final

from teknav_ops.audit.chain.anchor import Anchor, anchor_fault, read_anchor
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.verify import verify
from teknav_ops.audit.chain.watch import ChainVerdict, read_verdict
from teknav_ops.cli.context import Context
from teknav_ops.cli.finding import Finding
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

#: The newest links of the audit trail's chain, whose rows are compared: up to 4,000 each.
_LINKS_LOOKED_AT: Final = 5


def audit_finding(context: Context) -> Finding:
    """Whether the newest rows are as they were sealed, and nothing else is known of older ones.

    Raises:
        StorageUnavailable: the database did not answer. Without Redis, what is in SQL is looked at all the same.
    """
    # Before the database's moment: the chain of that moment must hold what was there before.
    anchor, verdict, doubt = _known(context)
    with source_of(context.database) as source:
        found = verify(source, LinkKeys.from_settings(context.settings), newest_links=_LINKS_LOOKED_AT)
        fault = found.findings[0].text if found.findings else anchor_fault(source, anchor)
    fault = fault or (None if verdict is None else verdict.fault)
    if fault:
        remedy = "Run `teknav audit verify`, and find out who changed them; docs/runbook/alerts/AuditChanged.md."
        return Finding("audit", False, fault, remedy)
    waiting = f", {found.unsealed_count:,} not sealed yet" if found.unsealed_count else ""
    whole = f"; all were compared until {verdict.round_at:%Y-%m-%dT%H:%M}Z" if verdict and verdict.round_at else ""
    return Finding(
        "audit", True, f"the newest {found.row_count:,} sealed rows are as they were written{waiting}{whole}{doubt}"
    )


def _known(context: Context) -> tuple[Anchor | None, ChainVerdict | None, str]:
    """What Redis knows of the chain."""
    try:
        return read_anchor(context.client), read_verdict(context.client), ""
    except OUTAGE_ERRORS:
        return None, None, "; whether the newest were cut off is not known without Redis"
