"""The platform's dashboard, asked of the daily figures: one question per file of sql/."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from teknav_ops.storage.sql_files import statement


def dashboard_days(session: Session, *, first: date, last: date) -> Sequence[RowMapping]:
    """Views, visitors, reads, shares, searches and signed-in readers per day."""
    return _rows(session, "dashboard_days", first=first, last=last)


def dashboard_articles(session: Session, *, first: date, last: date, top: int) -> Sequence[RowMapping]:
    """The articles viewed most."""
    return _rows(session, "dashboard_articles", first=first, last=last, top=top)


def dashboard_queries(
    session: Session, *, first: date, last: date, only_unfound: bool, top: int
) -> Sequence[RowMapping]:
    """What was searched most; or, with `only_unfound`, what was most often not found."""
    return _rows(session, "dashboard_queries", first=first, last=last, only_unfound=int(only_unfound), top=top)


def dashboard_users(session: Session, *, first: date, last: date) -> int:
    """How many different signed-in readers came."""
    return int(_rows(session, "dashboard_users", first=first, last=last)[0]["user_count"])


def _rows(session: Session, name: str, **parameters: Any) -> Sequence[RowMapping]:
    return session.execute(statement(name, days=("first", "last")), parameters).mappings().all()
