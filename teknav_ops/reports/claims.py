"""Claims: which scheduler runs a report that is due, so that no two do, also when the lead changes in between.

A claim is a lease while the report runs and a mark afterwards. Should its holder die, the lease ends, and the next
leader runs the report if it is still due.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client

_LEASE_MS: Final = 120_000
_RENEW_SECONDS: Final = 15.0
#: Longer than anything stays due, or is looked for as missed.
_DONE_MS: Final = 8 * 86_400_000
_DONE: Final = "done"


class Claim:
    """One due time of one schedule, held by this process."""

    def __init__(self, client: Client, schedule: str, due: datetime, holder: str) -> None:
        self._client = client
        self._key = keys.report_claim(schedule, _ms(due))
        self._holder = holder
        self._renewed_at = 0.0

    def take(self) -> bool:
        """False when it is, or was, another's."""
        self._renewed_at = time.monotonic()
        if self._client.set(self._key, self._holder, nx=True, px=_LEASE_MS):
            return True
        # A command that was cut off and tried again may find its own mark.
        return self._is_ours()

    def renew(self) -> None:
        """Keep it, or take it anew where it ended while Redis was away; asks Redis now and then only."""
        if time.monotonic() - self._renewed_at > _RENEW_SECONDS and self.take():
            self._client.execute_command("PEXPIRE", self._key, _LEASE_MS)

    def settle(self) -> None:
        """It has been run."""
        self._client.set(self._key, _DONE, px=_DONE_MS)

    def give_back(self) -> None:
        """It has not been run; another may. What another has taken meanwhile stays that one's."""
        if self._is_ours():
            self._client.execute_command("DEL", self._key)

    def _is_ours(self) -> bool:
        return self._client.get(self._key) == self._holder


class Comings:
    """When each scheduled report last came, kept where every scheduler looks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def came(self, schedule: str) -> None:
        """It came now."""
        self._client.hset(keys.REPORTS_CAME, schedule, str(_ms(datetime.now(UTC))))

    def read(self, schedules: set[str]) -> dict[str, datetime]:
        """When each came; one that is new here is counted from now on, one that is gone is forgotten."""
        stored = self._client.hgetall(keys.REPORTS_CAME)
        for schedule in schedules - stored.keys():
            self._client.execute_command("HSETNX", keys.REPORTS_CAME, schedule, str(_ms(datetime.now(UTC))))
        if stored.keys() - schedules:
            self._client.execute_command("HDEL", keys.REPORTS_CAME, *(stored.keys() - schedules))
        known = {schedule: text for schedule, text in stored.items() if schedule in schedules and text.isdigit()}
        return {schedule: datetime.fromtimestamp(int(text) / 1000, UTC) for schedule, text in known.items()}

    def known(self, times: Mapping[str, str], came: Mapping[str, datetime]) -> dict[str, datetime]:
        """Since when each schedule has had these times (its cron and zone): what was due before, nobody missed.

        It does not move when a report comes: another time may have passed while that ran.
        """
        stored = self._client.hgetall(keys.REPORTS_KNOWN)
        found = {}
        for schedule, text in times.items():
            since, _, before = stored.get(schedule, "").partition(" ")
            if before == text and since.isdigit():
                found[schedule] = datetime.fromtimestamp(int(since) / 1000, UTC)
                continue
            now = datetime.now(UTC)
            found[schedule] = now if schedule in stored else came.get(schedule, now)
            self._client.hset(keys.REPORTS_KNOWN, schedule, f"{_ms(found[schedule])} {text}")
        if gone := stored.keys() - times.keys():
            self._client.execute_command("HDEL", keys.REPORTS_KNOWN, *gone)
        return found


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
