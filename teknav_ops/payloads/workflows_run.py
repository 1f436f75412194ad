"""workflows:run: the platform's own procedures, step by step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from teknav_ops.payloads.base import LARGEST_ROW_ID, Payload

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,79}$")]


class RunWorkflow(Payload):
    """Run a workflow to its end: its steps, their retries, their waiting.

    `version` none means the newest when the run begins; a run that began keeps its version.
    """

    workflow: Annotated[Slug, Field(description="Slug of the WorkflowDefinition.")]
    input: Annotated[dict[str, JsonValue], Field(description="The values the definition's `inputs` name.")] = Field(
        default_factory=dict
    )
    version: Annotated[int | None, Field(ge=1, le=LARGEST_ROW_ID)] = None
