"""What the demo's jobs are about: rows for every queue, put in place once and found again later."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any, Final

from sqlalchemy import select, update

from teknav_ops import sample_content
from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import Client
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Plugin, WebhookEndpoint

PLUGINS: Final = ("reading-time", "term-counter")
#: How the receiver behaves at each endpoint's address.
MOODS: Final = ("ok", "slow", "moody", "busy", "broken", "refusing")
_OPERATOR: Final = Operator("demo", Role.OWNER)


@dataclasses.dataclass(frozen=True, slots=True)
class DemoContent:
    """Ids of the rows. `endpoints` is empty where no receiver was ever started."""

    article_ids: list[int]
    file_ids: list[int]
    endpoints: dict[str, int]


def prepare(settings: Settings, database: Database, client: Client, *, receiver_port: int) -> DemoContent:
    """Put everything in place; what is there stays. The endpoints lead to this start's receiver."""
    control = Control(client, _OPERATOR, OperatorLog(database), cipher=Cipher(cipher_keys(settings)))
    folder = resources.files("teknav_ops.sample_content")
    workflow = json.loads(folder.joinpath("workflows", "publish-article.json").read_text("utf-8"))
    control.workflows.save(workflow)
    with database.reading() as session:
        installed = set(session.scalars(select(Plugin.slug)))
        known = set(session.scalars(select(WebhookEndpoint.name)))
    for slug in PLUGINS:
        if slug not in installed:
            at = folder.joinpath("plugins", slug)
            manifest = json.loads(at.joinpath("manifest.json").read_text("utf-8"))
            control.plugins.install(at.joinpath("plugin.wasm").read_bytes(), manifest)
    for mood in MOODS:
        if f"demo-{mood}" not in known:
            control.webhooks.add(f"demo-{mood}", _address(receiver_port, mood))
    with database.session() as session:
        for mood in MOODS:
            moved = update(WebhookEndpoint).where(WebhookEndpoint.name == f"demo-{mood}")
            session.execute(moved.values(url=_address(receiver_port, mood)))
    return find(settings, database)


def find(settings: Settings, database: Database) -> DemoContent:
    """The rows that are there; articles and photographs are put in place if they are missing."""
    loaded = sample_content.load(database, settings.media_root)
    with database.reading() as session:
        rows: Any = session.execute(
            select(WebhookEndpoint.name, WebhookEndpoint.id).where(WebhookEndpoint.name.like("demo-%"))
        )
        endpoints = {name.removeprefix("demo-"): row_id for name, row_id in rows}
    return DemoContent(loaded.article_ids, loaded.file_ids, endpoints)


def _address(port: int, mood: str) -> str:
    return f"http://127.0.0.1:{port}/hooks/{mood}"
