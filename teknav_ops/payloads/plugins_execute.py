"""plugins:execute: code of others, in a sandbox."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from teknav_ops.payloads.base import Payload


class ExecutePlugin(Payload):
    """Run a plugin on an event."""

    plugin: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$", description="The plugin's slug.")]
    event: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)]
    input: dict[str, Any] = Field(default_factory=dict, description="What the plugin is given, beside the event.")
