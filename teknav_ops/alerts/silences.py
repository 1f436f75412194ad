"""Silences: for a while a rule opens no alert, because somebody knows and says why."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.storage.tables import AlertSilence
from teknav_ops.topology import TOPOLOGY, Topology

_LONGEST: Final = timedelta(days=30)


class Silences:
    """What one operator may do about alerts; every use is recorded in AuditLog."""

    def __init__(
        self, operator: Operator, operator_log: OperatorLog, rule_names: Collection[str], topology: Topology = TOPOLOGY
    ) -> None:
        self._operator = operator
        self._log = operator_log
        self._rule_names = rule_names
        self._topology = topology

    @needs(Operation.ACT)
    def silence(self, rule: str, queue: str | None, *, span: timedelta, reason: str) -> datetime:
        """Open no alert of this rule (on this queue, or on any) for so long; answers until when.

        Open alerts stay open, and it is told when they end.

        Raises:
            InvalidRequest: names what is wrong. Nothing was written.
        """
        if not timedelta(0) < span <= _LONGEST:
            raise InvalidRequest("for: must be more than nothing and at most 30 days")
        if not reason.strip():
            raise InvalidRequest("reason: say why; whoever comes next has to know")
        self._require_known(rule, queue)
        until = self._log.database.now() + span
        with self._log.record(
            "alert.silenced", actor=self._operator.name, queue=queue, rule=rule, until=until.isoformat(), reason=reason
        ), self._log.database.session() as session:  # fmt: skip
            session.add(
                AlertSilence(
                    rule=rule, queue=queue or "", until=until, reason=reason, created_by=self._operator.name
                )
            )  # fmt: skip
        return until

    @needs(Operation.ACT)
    def end(self, rule: str, queue: str | None) -> None:
        """End the silences of this rule on this queue (those that were made for all queues: without one).

        Raises:
            WrongState: there is none.
        """
        now = self._log.database.now()
        with self._log.record("alert.unsilenced", actor=self._operator.name, queue=queue, rule=rule):  # noqa: SIM117
            with self._log.database.session() as session:
                ended = session.execute(
                    update(AlertSilence)
                    .where(AlertSilence.rule == rule, AlertSilence.queue == (queue or ""), AlertSilence.until > now)
                    .values(until=now)
                )
                if ended.rowcount == 0:  # type: ignore[attr-defined]
                    raise WrongState(f"rule: {rule} is not silenced on {queue or 'all queues'}; see `teknav alerts`")

    def _require_known(self, rule: str, queue: str | None) -> None:
        if rule not in self._rule_names:
            raise InvalidRequest(f"rule: no {rule!r}; there are {', '.join(sorted(self._rule_names))}")
        if queue is not None:
            _ = self._topology[queue]
