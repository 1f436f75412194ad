"""Since when conditions have held, and which alerts are open: kept in Redis, so that a successor goes on from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import structlog
from pydantic import ValidationError

from teknav_ops.alerts.conditions import Condition
from teknav_ops.alerts.notices import AlertState
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import ALERTS_OPEN, ALERTS_SINCE
from teknav_ops.redis_state.scripts import ScriptRunner

log = structlog.get_logger("teknav.alerts")

#: Resolved at once: nobody looks at it any more.
RULE_IS_GONE: Final = "the rule, or the queue, is watched no more"


@dataclasses.dataclass(frozen=True, slots=True)
class Since:
    """A condition's state, and since when (ms, Redis's clock)."""

    state: str
    at_ms: int

    def __str__(self) -> str:
        return f"{self.state} {self.at_ms}"

    @classmethod
    def parse(cls, text: str) -> Since | None:
        """None for what nobody here wrote."""
        state, _, at_ms = text.partition(" ")
        return cls(state, int(at_ms)) if at_ms.isdigit() else None


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done: alerts to open, and open ones that are over, with how it looks now."""

    to_open: list[Condition]
    to_resolve: dict[str, str]


def follow(conditions: Iterable[Condition], before: Mapping[str, Since], now_ms: int) -> dict[str, Since]:
    """Since when each condition has been as it is. Unknown ones stay as they were."""
    after = {}
    for condition in conditions:
        known = before.get(condition.key)
        if condition.state == "unknown":
            if known is not None:
                after[condition.key] = known
        elif known is None or known.state != condition.state or known.at_ms > now_ms:
            # A time still to come: the clock was set back, and would hold the alert up by as much.
            after[condition.key] = Since(condition.state, now_ms)
        else:
            after[condition.key] = known
    return after


def decide(
    conditions: Sequence[Condition], since: Mapping[str, Since], open_keys: AbstractSet[str],
    watched_keys: AbstractSet[str], silenced: AbstractSet[str], now_ms: int,
) -> Changes:  # fmt: skip
    """Which alerts to open and to resolve. Pure: the same input gives the same answer.

    A silenced condition waits; it opens when the silence ends, if it still holds then.
    """
    to_open, to_resolve = [], {}
    for condition in conditions:
        known = since.get(condition.key)
        if known is None or condition.state == "unknown":
            continue
        held_ms = now_ms - known.at_ms
        if condition.is_firing and condition.key not in open_keys | silenced:
            if held_ms >= condition.for_seconds * 1000:
                to_open.append(condition)
        elif not condition.is_firing and condition.key in open_keys and held_ms >= condition.clear_seconds * 1000:
            to_resolve[condition.key] = condition.message
    to_resolve |= {key: RULE_IS_GONE for key in open_keys if key not in watched_keys}
    return Changes(to_open, to_resolve)


class WatchStore:
    """The two hashes in Redis."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._runner = ScriptRunner(client)

    def since(self) -> dict[str, Since]:
        """What was written last."""
        parsed = {key: Since.parse(text) for key, text in self._client.hgetall(ALERTS_SINCE).items()}
        return {key: since for key, since in parsed.items() if since is not None}

    def write_since(self, before: Mapping[str, Since], after: Mapping[str, Since]) -> None:
        """Write what changed; conditions that are looked at no more are forgotten."""
        changed = {key: str(since) for key, since in after.items() if before.get(key) != since}
        self._write(ALERTS_SINCE, changed, before.keys() - after.keys())

    def open_alerts(self) -> dict[str, AlertState]:
        """The alerts that are open, as far as Redis knows."""
        found = {}
        for key, text in self._client.hgetall(ALERTS_OPEN).items():
            try:
                found[key] = AlertState.model_validate_json(text)
            except ValidationError as error:
                log.error("alerts.unreadable", key=key, error=str(error))
        return found

    def write_open(self, before: Mapping[str, AlertState], after: Mapping[str, AlertState]) -> None:
        """Make the hash hold exactly these."""
        changed = {key: state.model_dump_json() for key, state in after.items() if before.get(key) != state}
        self._write(ALERTS_OPEN, changed, before.keys() - after.keys())

    def _write(self, name: str, changed: Mapping[str, str], gone: Collection[str]) -> None:
        if changed or gone:
            self._runner.run(scripts.replace_fields(name, written=changed, dropped=gone))
