"""The outside world, behind small protocols; the real adapters stand beside them."""

from __future__ import annotations

import dataclasses

from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from workers.services.mail import Mailer, open_mailer
from workers.services.media import MediaStore


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What processors may use. One per process; safe to share between threads."""

    database: Database
    mailer: Mailer
    media: MediaStore


def open_services(settings: Settings) -> Services:
    """The real services of these settings. Nothing is connected before its first use."""
    return Services(Database.open(settings.sql_url), open_mailer(settings), MediaStore(settings.media_root))
