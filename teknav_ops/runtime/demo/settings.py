"""What the demo sets where nobody did: mails and webhooks stay on this machine, and a report comes by itself."""

from __future__ import annotations

import json
from typing import Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.catalogue import Catalogue
from teknav_ops.reports.desk import require_extra
from teknav_ops.settings import Settings

#: Often enough to be seen by whoever has just started the demo.
REPORT_SCHEDULES: Final = (
    {
        "name": "queue_health", "cron": "*/10 * * * *", "params": {"hours": 1},
        "deliver": {"mail": ["sre@teknav.example"]},
    },
)  # fmt: skip


def demo_settings(settings: Settings, smtp_port: int) -> dict[str, str]:
    """Environment of the demo's processes, beside what `settings` say; its mail server listens on `smtp_port`."""
    told = {}
    if settings.smtp_url is None:
        told["TEKNAV_SMTP_URL"] = f"smtp+plain://127.0.0.1:{smtp_port}"
        if settings.report_schedules is None and _runs_reports(settings):
            told["TEKNAV_REPORT_SCHEDULES"] = json.dumps(REPORT_SCHEDULES)
    if not settings.outbound_allowed_networks:
        told["TEKNAV_OUTBOUND_ALLOWED_NETWORKS"] = '["127.0.0.0/8"]'
    return told


def _runs_reports(settings: Settings) -> bool:
    """Whether the notebooks are there, which an installed package has not, and what runs them."""
    catalogue = Catalogue(settings.notebooks_root)
    try:
        require_extra()
        for schedule in REPORT_SCHEDULES:
            catalogue.get(str(schedule["name"]))
    except InvalidRequest:
        return False
    return True
