"""The outside world, behind small protocols; the real adapters stand beside them."""

from __future__ import annotations

import dataclasses
import functools

from teknav_ops.outbound.http import OutboundHttp, open_outbound_http
from teknav_ops.outbound.mail import Mailer, open_mailer
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from workers.services.ai import Ai, open_ai
from workers.services.media import MediaStore
from workers.services.plugin_sandbox import PluginSandbox
from workers.services.sms import SmsGateway, open_sms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Services:
    """What processors may use. One per process; safe to share between threads."""

    settings: Settings
    database: Database
    mailer: Mailer
    media: MediaStore
    http: OutboundHttp
    sms: SmsGateway
    plugins: PluginSandbox

    @functools.cached_property
    def redis(self) -> Client:
        """Redis, for what a processor keeps there."""
        return connect(find_redis_url(self.settings), timeout_seconds=self.settings.redis_timeout_seconds)

    @functools.cached_property
    def ai(self) -> Ai:
        """Language models, and the books of what they cost."""
        return open_ai(self.settings, self.database)

    @functools.cached_property
    def cipher(self) -> Cipher:
        """For secrets that stand in SQL."""
        return Cipher(cipher_keys(self.settings))

    @functools.cached_property
    def producer(self) -> Producer:
        """For jobs that make jobs."""
        return Producer.from_settings(self.settings, actor="worker")


def open_services(settings: Settings) -> Services:
    """The real services of these settings. Nothing is connected before its first use."""
    return Services(
        settings=settings,
        database=Database.open(settings.sql_url),
        mailer=open_mailer(settings),
        media=MediaStore(settings.media_root),
        http=open_outbound_http(settings),
        sms=open_sms(settings),
        plugins=PluginSandbox(),
    )
