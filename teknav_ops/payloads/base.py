"""What every payload model has in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ValidationInfo

#: PostgreSQL's `integer`: what ids, versions and counts are kept in.
LARGEST_ROW_ID: Final = 2**31 - 1


class Payload(BaseModel):
    """A job's order: frozen, and refusing fields it does not know.

    A field typed `SecretStr` (also inside lists and dicts) is encrypted before it reaches Redis
    and masked in every view. The class docstring's first line is shown as the job's purpose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=200_000)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and not _takes_booleans(cls.model_fields[info.field_name or ""]):
            raise ValueError("must not be true or false")
        return value


def _takes_booleans(field: FieldInfo) -> bool:
    return "bool" in str(field.annotation)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


def row_id(description: str) -> Any:
    """Constraints of a field that holds the id of a row."""
    return Field(ge=1, le=LARGEST_ROW_ID, description=description)


#: Clocks of producers differ; a moment further ahead than this is a mistake.
_FUTURE_LIMIT: Final = timedelta(days=1)


def _has_come(moment: datetime) -> datetime:
    if moment - datetime.now(UTC) > _FUTURE_LIMIT:
        raise ValueError("must not be more than a day ahead: it is when something happened")
    return moment


#: A moment, kept in UTC whatever zone it was given in: an offset may hold seconds, which no reader of JSON takes.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
#: When something happened.
PastMoment = Annotated[Moment, AfterValidator(_has_come)]
