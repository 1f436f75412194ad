"""A process that delivers alerts and dies where it is told: `python -m tests.alerts.sender MOMENT`.

MOMENT is before (the message goes out), after (it has gone out, and nothing is written down yet) or never.
"""

from __future__ import annotations

import os
import signal
import sys

from teknav_ops.alerts.channels import Channel, open_channels
from teknav_ops.alerts.deliveries import Deliveries
from teknav_ops.alerts.notices import Notice
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database


class Deadly:
    """A channel whose process is killed around the first message."""

    def __init__(self, channel: Channel, moment: str) -> None:
        self.name = channel.name
        self._channel = channel
        self._moment = moment

    def send(self, notice: Notice) -> str:
        if self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = self._channel.send(notice)
        if self._moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    settings = Settings()
    channels = [Deadly(channel, sys.argv[1]) for channel in open_channels(settings)]
    deliveries = Deliveries(Database.open(settings.sql_url), channels)
    while deliveries.step():
        pass
