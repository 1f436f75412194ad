"""Schedules: which reports are run when, with which parameters, and who gets them. `TEKNAV_REPORT_SCHEDULES`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from teknav_ops.errors import InvalidRequest
from teknav_ops.listed_settings import fault_words, load_list
from teknav_ops.outbound.addresses import InvalidUrl, check_url
from teknav_ops.reports.catalogue import Catalogue
from teknav_ops.reports.parameters import check_parameters
from teknav_ops.server_addresses import receiver_of_mails
from teknav_ops.settings import Settings

_SETTING: Final = "report_schedules"


class Deliver(BaseModel):
    """Who is told of a run: mails and a post. `attach` puts the whole page into the mail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mail: tuple[str, ...] = ()
    webhook: str | None = None
    attach: bool = False

    @field_validator("mail")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(receiver_of_mails, addresses))

    @field_validator("webhook")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                check_url(url)
            except InvalidUrl as error:
                raise ValueError(str(error).removeprefix("url: ")) from None
        return url


class Schedule(BaseModel):
    """One entry. Without `cron` it is run only from outside: `teknav report run KEY --as-scheduled`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str = Field("", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$")
    cron: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    allow_replay: bool = False
    catch_up: bool = Field(False, description="Run late what could not begin in time; else that is told.")
    deliver: Deliver = Deliver()

    @model_validator(mode="before")
    @classmethod
    def _keyed(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("key"):
            return {**values, "key": values.get("name", "")}
        return values


def schedules_of(settings: Settings) -> tuple[Schedule, ...]:
    """The schedules in force, each checked against its notebook.

    Raises:
        InvalidRequest: names the entry and the field that is wrong.
    """
    schedules = written_schedules(settings)
    for misfit in misfits_of(settings, schedules).values():
        raise InvalidRequest(misfit)
    return schedules


def misfits_of(settings: Settings, schedules: Sequence[Schedule]) -> dict[str, str]:
    """By key, what is wrong with the entries that do not fit their notebook, or have none."""
    catalogue, misfits = Catalogue(settings.notebooks_root), {}
    for number, schedule in enumerate(schedules):
        try:
            report = catalogue.get(schedule.name)
            check_parameters(schedule.name, report.parameters, schedule.params)
        except InvalidRequest as error:
            misfits[schedule.key] = f"{_entry(number, schedule)}: {error}"
    return misfits


def written_schedules(settings: Settings) -> tuple[Schedule, ...]:
    """The schedules as they are written; whether their notebooks take such parameters is seen when they are run.

    The scheduler asks for these: somebody's mistake in a notebook must not keep it from starting.

    Raises:
        InvalidRequest: names the entry and the field that is wrong.
    """
    if settings.report_schedules is None:
        return ()
    listed = load_list(_SETTING, settings.report_schedules)
    try:
        schedules = TypeAdapter(tuple[Schedule, ...]).validate_python(listed)
    except ValidationError as error:
        faults = [fault_words(_SETTING, listed, fault, called=("key", "name")) for fault in error.errors()]
        raise InvalidRequest("; ".join(faults)) from None
    for number, schedule in enumerate(schedules):
        if schedule.key in {earlier.key for earlier in schedules[:number]}:
            raise InvalidRequest(f"{_entry(number, schedule)}: key: another entry has it; give each a key of its own")
    return schedules


def schedule_of(settings: Settings, key: str) -> Schedule:
    """One entry. Raises InvalidRequest."""
    schedules = schedules_of(settings)
    for schedule in schedules:
        if schedule.key == key:
            return schedule
    known = ", ".join(schedule.key for schedule in schedules) or "none"
    raise InvalidRequest(f"{_SETTING}: no entry {key!r}; there are: {known}")


def _entry(number: int, schedule: Schedule) -> str:
    return f"{_SETTING}[{number}] ({schedule.key})"
