"""One run of a report: what was ordered, and what came of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from teknav_ops.payloads.redaction import leaving

#: ok · failed: a cell raised · limit: a limit was breached · timeout · killed: a process died or was told to end.
Status = Literal["running", "ok", "failed", "limit", "timeout", "killed"]

EXIT_CODES: Final[dict[str, int]] = {"ok": 0, "limit": 3}
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
RUN: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


#: Told, a few times per second, what a run is doing, in words that follow its name; whoever holds its claim renews it.
Tick = Callable[[str], None]


def silent(_: str) -> None:
    """A tick that nobody hears."""


class Number(BaseModel):
    """A number of the summary. `value` is None where it is not known; at most one limit is set."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float | None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    is_breached: bool = False


class Delivered(BaseModel):
    """What became of one message about a run: `sent`, `failed`, or `pending` where the sender died."""

    model_config = ConfigDict(frozen=True)

    channel: str
    status: Literal["pending", "sent", "failed"] = "pending"
    attempt_count: int = 0
    words: str = ""


class Order(BaseModel):
    """What a run is to be. It goes to the child process; it holds no secrets."""

    model_config = ConfigDict(frozen=True)

    name: str
    run: str
    title: str
    notebook: str
    parameters: dict[str, Any]
    who: str
    schedule: str | None = None
    allow_replay: bool = False
    started_at: datetime
    time_zone: str = "UTC"
    cell_seconds: int
    start_seconds: int


class RunMeta(BaseModel):
    """A run, as its `meta.json` says. `error` names the exception, or what ended the run."""

    model_config = ConfigDict(frozen=True)

    name: str
    run: str
    title: str
    status: Status
    who: str
    schedule: str | None = None
    allow_replay: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)
    started_at: datetime
    time_zone: str = "UTC"
    ended_at: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    numbers: tuple[Number, ...] = ()
    deliveries: tuple[Delivered, ...] = ()

    @classmethod
    def of(cls, order: Order) -> RunMeta:
        """A run that begins."""
        return cls(**order.model_dump(exclude={"notebook", "cell_seconds", "start_seconds"}), status="running")

    def ended(self, status: Status, *, error: str = "", numbers: tuple[Number, ...] = ()) -> RunMeta:
        """The same run, over now."""
        now = datetime.now(UTC)
        return self.model_copy(
            update={
                "status": status, "error": leaving(error), "numbers": numbers or self.numbers, "ended_at": now,
                "seconds": round((now - self.started_at).total_seconds(), 3),
            }
        )  # fmt: skip

    @property
    def exit_code(self) -> int:
        """0 ok, 3 a limit was breached, 1 anything else."""
        return EXIT_CODES.get(self.status, 1)

    @property
    def has_told(self) -> bool:
        """Whether the notebook said what it had to say, be it that a limit is breached."""
        return self.status in EXIT_CODES


def new_run(at: datetime) -> str:
    """A run's id: sorts by time, and no two are the same."""
    return f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
