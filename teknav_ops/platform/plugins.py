"""Plugins as operators see them: install, list, switch off and on, look at their runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.operator_log import OperatorAction
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.one_line import is_one_line
from teknav_ops.platform.plugin_module import compile_module, new_engine, sha256_of, to_binary, try_out
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Plugin, PluginExecutionLog
from teknav_ops.storage.tables.base import utc_now

Record = Callable[..., AbstractContextManager[OperatorAction]]
Permission = Literal["log", "article:read", "kv:read", "kv:write", "http:fetch"]


class Limits(BaseModel):
    """What one run may take: instructions, bytes of memory, milliseconds of wall time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fuel: Annotated[int, Field(ge=1_000, le=10_000_000_000)] = 100_000_000
    memory_bytes: Annotated[int, Field(ge=65_536, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    time_ms: Annotated[int, Field(ge=10, le=30_000)] = 2_000


class Manifest(BaseModel):
    """What a plugin says of itself, and asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$", max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    permissions: Annotated[tuple[Permission, ...], Field(max_length=5)] = ()
    allowed_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")], ...], Field(max_length=20)
    ] = ()
    limits: Limits = Limits()

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not is_one_line(name):
            raise ValueError("must be one line of printable text")
        return name


class UnknownPluginName(InvalidRequest):
    """There is no plugin of this name."""


@dataclasses.dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plugin without its module."""

    slug: str
    version: str
    name: str
    status: str
    permissions: list[str]
    allowed_hosts: list[str]
    sha256: str
    installed_by: str
    installed_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """One run."""

    at: datetime
    job_id: str
    attempt: int
    version: str | None
    event: str
    status: str
    reason: str | None
    duration_ms: float | None
    fuel_used: int | None
    memory_bytes: int | None
    error: str | None


class Plugins:
    """Every change is recorded with the operator's name before it is made."""

    def __init__(self, database: Database, record: Record, *, operator: Operator) -> None:
        self._database = database
        self._record = record
        self._operator = operator

    def installed(self) -> list[InstalledPlugin]:
        """All plugins, by slug."""
        with self._database.reading() as session:
            rows = session.scalars(select(Plugin).options(defer(Plugin.module)).order_by(Plugin.slug))
            return [_view(row, InstalledPlugin) for row in rows]

    def executions(self, slug: str, *, limit: int = 50) -> Sequence[Execution]:
        """The newest runs of a plugin. Raises UnknownPluginName."""
        with self._database.reading() as session:
            _find(session, slug)
            newest = select(PluginExecutionLog).where(PluginExecutionLog.plugin == slug)
            ordered = newest.order_by(PluginExecutionLog.at.desc(), PluginExecutionLog.id.desc()).limit(limit)
            return [_view(row, Execution) for row in session.scalars(ordered)]

    @needs(Operation.MANAGE)
    def install(self, source: bytes, manifest: Mapping[str, Any]) -> str:
        """Install a plugin, or a new version of it; answers the hash that is pinned.

        `source` is WebAssembly, binary or text. What the plugin keeps (kv) stays.

        Raises:
            InvalidRequest: the manifest or the module is wrong; the message names the field. Nothing was written.
        """
        wanted = read_manifest(manifest)
        module = to_binary(source)
        engine = new_engine()
        compiled = compile_module(engine, module, frozenset(wanted.permissions))
        try_out(engine, compiled, fuel=wanted.limits.fuel, memory_bytes=wanted.limits.memory_bytes)
        digest = sha256_of(module)
        facts = {
            "version": wanted.version, "name": wanted.name, "module": module, "sha256": digest,
            "permissions": list(wanted.permissions), "allowed_hosts": list(wanted.allowed_hosts),
            **wanted.limits.model_dump(), "installed_by": self._operator.name, "installed_at": utc_now(),
        }  # fmt: skip
        detail = {"plugin": wanted.slug, "version": wanted.version, "sha256": digest,
                  "permissions": list(wanted.permissions)}  # fmt: skip
        with self._record("plugin.installed", None, **detail), self._database.session() as session:
            plugin = session.scalars(select(Plugin).where(Plugin.slug == wanted.slug).with_for_update()).first()
            if plugin is None:
                session.add(Plugin(slug=wanted.slug, **facts))
            else:
                for name, value in facts.items():
                    setattr(plugin, name, value)
        return digest

    @needs(Operation.MANAGE)
    def enable(self, slug: str) -> None:
        """Run it again. Raises UnknownPluginName, or WrongState when it is enabled."""
        with self._record("plugin.enabled", None, plugin=slug):
            self._switch(slug, "enabled")

    @needs(Operation.MANAGE)
    def disable(self, slug: str) -> None:
        """Run it no more. Raises UnknownPluginName, or WrongState when it is disabled."""
        with self._record("plugin.disabled", None, plugin=slug):
            self._switch(slug, "disabled")

    def _switch(self, slug: str, status: str) -> None:
        with self._database.session() as session:
            plugin = _find(session, slug)
            if plugin.status == status:
                raise WrongState(f"plugin: {slug} is {status} already")
            plugin.status = status


def read_manifest(manifest: Mapping[str, Any]) -> Manifest:
    """A manifest that is in order. Raises InvalidRequest, which names each field and its problem."""
    try:
        wanted = Manifest.model_validate(manifest)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InvalidRequest(f"manifest: {'; '.join(problems)}") from None
    if wanted.allowed_hosts and "http:fetch" not in wanted.permissions:
        raise InvalidRequest("manifest: allowed_hosts: needs the permission http:fetch")
    return wanted


def _find(session: Session, slug: str) -> Plugin:
    found = select(Plugin).options(defer(Plugin.module)).where(Plugin.slug == slug).with_for_update()
    plugin = session.scalars(found).first()
    if plugin is None:
        raise UnknownPluginName(f"plugin: there is no {slug!r}; see `teknav plugins list`")
    return plugin


def _view(row: Any, kind: type[Any]) -> Any:
    return kind(**{field.name: getattr(row, field.name) for field in dataclasses.fields(kind)})
