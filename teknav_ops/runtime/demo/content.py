"""What the demo's jobs are about: rows for every queue, put in place once and found again later."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Final

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

WORKFLOWS: Final = ("publish-article", "notify-partners", "weekly-pick")
#: The last two misbehave.
PLUGINS: Final = ("reading-time", "term-counter", "runaway", "glutton")
#: How the receiver behaves at each endpoint's address.
MOODS: Final = ("ok", "slow", "moody", "busy", "broken", "refusing")
#: An endpoint that leads where no webhook may go.
_BLOCKED: Final = ("blocked", "http://169.254.169.254/latest/meta-data/")
_OPERATOR: Final = Operator("demo", Role.OWNER)


@dataclasses.dataclass(frozen=True, slots=True)
class DemoContent:
    """Ids of the rows. `endpoints` is empty, and `receiver_url` too, where no receiver was ever started."""

    article_ids: list[int]
    file_ids: list[int]
    endpoints: dict[str, int]
    damaged_file_ids: list[int] = dataclasses.field(default_factory=list)
    receiver_url: str = ""


def prepare(settings: Settings, database: Database, client: Client, *, receiver_port: int) -> DemoContent:
    """Put everything in place; what is there stays. The endpoints lead to this start's receiver."""
    control = Control(client, _OPERATOR, OperatorLog(database), cipher=Cipher(cipher_keys(settings)))
    folder = resources.files("teknav_ops.sample_content")
    for slug in WORKFLOWS:
        control.workflows.save(json.loads(folder.joinpath("workflows", f"{slug}.json").read_text("utf-8")))
    with database.reading() as session:
        installed = set(session.scalars(select(Plugin.slug)))
        known = set(session.scalars(select(WebhookEndpoint.name)))
    for slug in PLUGINS:
        if slug not in installed:
            at = folder.joinpath("plugins", slug)
            manifest = json.loads(at.joinpath("manifest.json").read_text("utf-8"))
            built, source = at.joinpath("plugin.wasm"), at.joinpath("plugin.wat")
            control.plugins.install((built if built.is_file() else source).read_bytes(), manifest)
    for mood, url in [*((mood, _address(receiver_port, mood)) for mood in MOODS), _BLOCKED]:
        if f"demo-{mood}" not in known:
            control.webhooks.add(f"demo-{mood}", url)
    with database.session() as session:
        for mood in MOODS:
            moved = update(WebhookEndpoint).where(WebhookEndpoint.name == f"demo-{mood}")
            session.execute(moved.values(url=_address(receiver_port, mood)))
    sample_content.load_damaged(database, settings.media_root)
    return find(settings, database)


def find(settings: Settings, database: Database) -> DemoContent:
    """The rows that are there; articles and photographs are put in place if they are missing."""
    loaded = sample_content.load(database, settings.media_root)
    with database.reading() as session:
        ours = select(WebhookEndpoint).where(WebhookEndpoint.name.like("demo-%"))
        endpoints = {row.name.removeprefix("demo-"): row for row in session.scalars(ours)}
    return DemoContent(
        loaded.article_ids, loaded.file_ids, {mood: row.id for mood, row in endpoints.items()},
        sample_content.find_damaged(database),
        endpoints["ok"].url.removesuffix("/hooks/ok") if "ok" in endpoints else "",
    )  # fmt: skip


def _address(port: int, mood: str) -> str:
    return f"http://127.0.0.1:{port}/hooks/{mood}"
