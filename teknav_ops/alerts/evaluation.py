"""The scheduler's duty: hold the rules against the facts, write what opened and what is over.

SQL holds alerts and the messages to be sent. When SQL is away, which may be the very thing to tell, alerts
that open are sent at once and remembered in Redis until SQL can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Final

import structlog

from teknav_ops.alerts.bounded import BoundedCalls
from teknav_ops.alerts.channels import Channel, ChannelFailed
from teknav_ops.alerts.conditions import Condition, condition_key, evaluate
from teknav_ops.alerts.facts import FactReader, Hours
from teknav_ops.alerts.ledger import Ledger
from teknav_ops.alerts.notices import AlertState, by_rule, opened_notice
from teknav_ops.alerts.rules import Rule
from teknav_ops.alerts.watch import Changes, Since, WatchStore, decide, follow
from teknav_ops.errors import StorageUnavailable
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.alerts")

EVALUATE_SECONDS: Final = 15.0
_SQL_SECONDS: Final = 12.0
_CURRENT: Final = {"current_value", "current_message", "current_at"}


class AlertWatch:
    """Evaluates; one `step` is one look at everything."""

    def __init__(
        self, client: Client, database: Database, topology: Topology, rules: Sequence[Rule],
        channels: Sequence[Channel], *, hours: Callable[[], Hours] = lambda: None, site_url: str | None = None,
        sql_seconds: float = _SQL_SECONDS,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._channels = channels
        self._hours = hours
        self._site_url = site_url
        self._reader = FactReader(client, topology, rules)
        self._store = WatchStore(client)
        self._ledger = Ledger(database, [channel.name for channel in channels], site_url=site_url)
        self._sql = BoundedCalls(sql_seconds)
        self._watched = {condition_key(rule.name, queue) for rule in rules for queue in topology if rule.watches(queue)}
        self._silences: list[tuple[str, str]] = []

    def step(self) -> None:
        """Look, write, and tell directly where SQL is away. Raises redis-py's errors during an outage of Redis."""
        facts = self._reader.read(self._hours())
        conditions = evaluate(self._rules, facts)
        before = self._store.since()
        since = follow(conditions, before, facts.at_ms)
        # A queue that could not be read keeps what was known of it.
        since = {key: known for key, known in before.items() if key in self._watched} | since
        self._store.write_since(before, since)
        self._act(conditions, since, facts.at_ms)

    def _act(self, conditions: Sequence[Condition], since: Mapping[str, Since], now_ms: int) -> None:
        remembered = self._store.open_alerts()
        at = _moment(now_ms)
        try:
            on_record = self._sql.run(self._look)
            untold = [state for state in remembered.values() if not state.is_recorded]
            changes = self._decide(conditions, since, on_record.keys() | {state.key for state in untold}, now_ms)
            opened = untold + self._states(changes, since, at)
            if opened or changes.to_resolve:
                on_record = self._sql.run(lambda: self._record(opened, changes.to_resolve, at))
            self._store.write_open(remembered, _looked_at(on_record, remembered, conditions, at))
        except StorageUnavailable as error:
            log.warning("alerts.sql_away", error=str(error))
            changes = self._decide(conditions, since, remembered.keys(), now_ms)
            known = _looked_at(remembered, remembered, conditions, at)
            self._tell_directly(remembered, known, self._states(changes, since, at), at)

    def _look(self) -> dict[str, AlertState]:
        self._silences = self._ledger.silences()
        return self._ledger.open_alerts()

    def _record(self, opened: Sequence[AlertState], over: Mapping[str, str], at: datetime) -> dict[str, AlertState]:
        self._ledger.write(opened, over, at)
        return self._ledger.open_alerts()

    def _decide(
        self, conditions: Sequence[Condition], since: Mapping[str, Since], open_keys: AbstractSet[str], now_ms: int
    ) -> Changes:
        silenced = {
            condition.key
            for condition in conditions
            for rule, queue in self._silences
            if rule == condition.rule and queue in ("", condition.queue)
        }
        return decide(conditions, since, open_keys, self._watched, silenced, now_ms)

    def _states(self, changes: Changes, since: Mapping[str, Since], at: datetime) -> list[AlertState]:
        return [
            AlertState.of(condition, since_at=_moment(since[condition.key].at_ms), opened_at=at)
            for condition in changes.to_open
        ]

    def _tell_directly(
        self, remembered: Mapping[str, AlertState], known: Mapping[str, AlertState], opening: list[AlertState],
        at: datetime,
    ) -> None:  # fmt: skip
        """Send at once through each channel that has not taken it yet; written down after, for at least once."""
        pending = [state for state in known.values() if not state.is_recorded] + opening
        after = dict(known)
        for group in by_rule(pending):
            told = self._send(group, at)
            for state in group:
                got = {*state.told, *(name for name, keys in told.items() if state.key in keys)}
                after[state.key] = state.model_copy(update={"told": tuple(sorted(got)), "is_recorded": False})
        self._store.write_open(remembered, after)

    def _send(self, group: Sequence[AlertState], at: datetime) -> dict[str, set[str]]:
        """Which alerts each channel took."""
        took = {}
        for channel in self._channels:
            untold = [state for state in group if channel.name not in state.told]
            if untold:
                try:
                    channel.send(opened_notice(untold, at=at, site_url=self._site_url))
                except ChannelFailed as error:
                    log.warning("alert.not_sent", channel=channel.name, rule=group[0].rule, error=str(error))
                    continue
                took[channel.name] = {state.key for state in untold}
        return took


def _looked_at(
    states: Mapping[str, AlertState], before: Mapping[str, AlertState], conditions: Sequence[Condition], at: datetime
) -> dict[str, AlertState]:
    """Open alerts with how they look now; one that could not be looked at keeps what was seen last."""
    seen = {condition.key: condition for condition in conditions if condition.state != "unknown"}
    last = {key: before[key].model_dump(include=_CURRENT) for key in states.keys() & before.keys()}
    return {
        key: state.looked_at(seen[key], at) if key in seen else state.model_copy(update=last.get(key, {}))
        for key, state in states.items()
    }


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
