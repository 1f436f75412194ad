"""What every payload model has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """A job's order: frozen, and refusing fields it does not know.

    A field typed `SecretStr` (also inside lists and dicts) is encrypted before it reaches Redis
    and masked in every view. The class docstring's first line is shown as the job's purpose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=200_000)
