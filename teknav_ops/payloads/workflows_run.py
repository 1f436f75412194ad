"""workflows:run: the platform's own procedures, step by step."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, JsonValue, field_validator

from teknav_ops.payloads.base import Payload

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,79}$")]


class RunWorkflow(Payload):
    """Run a workflow to its end: its steps, their retries, their waiting.

    `version` none means the newest when the run begins; a run that began keeps its version.
    """

    workflow: Annotated[Slug, Field(description="Slug of the WorkflowDefinition.")]
    input: Annotated[dict[str, JsonValue], Field(description="The values the definition's `inputs` name.")] = Field(
        default_factory=dict
    )
    version: Annotated[int | None, Field(ge=1)] = None

    @field_validator("input")
    @classmethod
    def _is_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            text = json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError("must be JSON: NaN and Infinity are not") from None
        if "\\u0000" in text:
            raise ValueError("must not hold null characters")
        return value
