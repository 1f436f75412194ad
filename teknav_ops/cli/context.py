"""What commands need, made when a command first asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from teknav_ops.access.policy import local_operator
from teknav_ops.configured_secrets import mask_configured_secrets
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.settings import Settings, get_settings
from teknav_ops.topology import TOPOLOGY

if TYPE_CHECKING:
    from teknav_ops.access.entrance import Entrance
    from teknav_ops.control import Control
    from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
    from teknav_ops.jobs.queries import JobQueries
    from teknav_ops.producer import Producer
    from teknav_ops.replays import Replays
    from teknav_ops.storage.database import Database


class Context:
    """One command's connections. What they need is imported with them: a command waits for its own only."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings

    @cached_property
    def settings(self) -> Settings:
        """The environment's settings."""
        settings = self._settings or get_settings()
        mask_configured_secrets(settings)
        return settings

    @cached_property
    def client(self) -> Client:
        """Redis."""
        return connect(find_redis_url(self.settings), timeout_seconds=self.settings.redis_timeout_seconds)

    @cached_property
    def database(self) -> Database:
        """SQL."""
        from teknav_ops.storage.database import Database

        return Database.open(self.settings.sql_url)

    @cached_property
    def jobs(self) -> JobQueries:
        """Reading jobs."""
        from teknav_ops.jobs.queries import JobQueries

        return JobQueries(self.client, TOPOLOGY)

    @cached_property
    def dead_letters(self) -> DeadLetterQueries:
        """Reading dead letters."""
        from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries

        return DeadLetterQueries(self.client, TOPOLOGY)

    @cached_property
    def replays(self) -> Replays:
        """Reading batch replays."""
        from teknav_ops.replays import Replays

        return Replays(self.client, self.dead_letters, TOPOLOGY)

    @cached_property
    def producer(self) -> Producer:
        """Enqueueing."""
        from teknav_ops.producer import Producer

        return Producer.from_settings(self.settings, actor=local_operator(self.settings).name)

    @cached_property
    def entrance(self) -> Entrance:
        """Users, tokens and sign-in links."""
        from teknav_ops.access.entrance import Entrance
        from teknav_ops.audit.operator_log import OperatorLog

        return Entrance(self.settings, self.client, OperatorLog(self.database))

    @cached_property
    def control(self) -> Control:
        """The operators' door, for whoever is at this command line."""
        from teknav_ops.audit.operator_log import OperatorLog
        from teknav_ops.control import Control
        from teknav_ops.payloads.codec import Cipher
        from teknav_ops.secret_key import cipher_keys

        return Control(
            self.client,
            local_operator(self.settings),
            OperatorLog(self.database),
            cipher=Cipher(cipher_keys(self.settings)),
            payload_limit_bytes=self.settings.payload_limit_bytes,
        )
