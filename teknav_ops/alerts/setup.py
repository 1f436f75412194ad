"""What the settings say about alerts, checked as a whole before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from teknav_ops.alerts.channels import Channel, open_channels
from teknav_ops.alerts.rules import Rule, rules_of
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY, Topology


@dataclasses.dataclass(frozen=True, slots=True)
class AlertSetup:
    """The rules in force, and who is told. `site_url` is where the dashboard is, for links."""

    rules: Sequence[Rule]
    channels: Sequence[Channel]
    site_url: str | None

    @property
    def words(self) -> str:
        """One line for a person."""
        told = ", ".join(channel.name for channel in self.channels)
        return f"{len(self.rules)} rules; " + (
            f"told: {told}" if told else "nobody is told (set TEKNAV_ALERT_WEBHOOK_URL or TEKNAV_ALERT_MAIL_TO)"
        )


def alert_setup(settings: Settings, topology: Topology = TOPOLOGY) -> AlertSetup:
    """Read it all. Raises InvalidRequest, which names the setting, and the rule and its field."""
    return AlertSetup(
        rules_of(settings, topology), open_channels(settings), settings.alert_site_url or settings.web_public_url
    )
