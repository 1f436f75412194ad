"""What AI runs have taken: the figures by which a budget stops a call, and that a person is shown."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from teknav_ops.storage.tables import AiRun


@dataclasses.dataclass(frozen=True, slots=True)
class Spending:
    """Tokens and millionths of a US dollar, spent and set aside for calls whose true figures are not known (yet)."""

    tokens: int
    micro_usd: int


def spent(session: Session, *where: ColumnElement[bool]) -> Spending:
    """What the runs for which `where` holds have taken. A run whose price is not known counts no money."""
    tokens = func.sum(AiRun.input_tokens + AiRun.output_tokens + AiRun.reserved_tokens)
    money = func.sum(func.coalesce(AiRun.cost_micro_usd, 0) + func.coalesce(AiRun.reserved_micro_usd, 0))
    row = session.execute(select(func.coalesce(tokens, 0), func.coalesce(money, 0)).where(*where)).one()
    return Spending(int(row[0]), int(row[1]))


def spent_on_day_of(session: Session, now: datetime) -> Spending:
    """What was taken since that day began; a run belongs to the moment it began."""
    return spent(session, AiRun.started_at >= midnight(now))


def midnight(now: datetime) -> datetime:
    """When the budget's day began: budgets are per day in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
