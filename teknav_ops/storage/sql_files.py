"""Statements in files: read once, with the kinds of their parameters."""

from __future__ import annotations

import functools
from importlib import resources

from sqlalchemy import Date, TextClause, bindparam, text

from teknav_ops.storage.tables.base import UtcDateTime

_MOMENTS = ("stamp", "earliest", "latest")


@functools.cache
def statement(name: str, *, lists: tuple[str, ...] = (), days: tuple[str, ...] = ()) -> TextClause:
    """The statement of `sql/<name>.sql`; `lists` are parameters that hold many values, `days` a date each."""
    file = resources.files("teknav_ops.storage").joinpath("sql", f"{name}.sql").read_text("utf-8")
    # The header names the parameters, and SQLAlchemy would bind them there too.
    sql = file.partition("\n\n")[2]
    moments = [bindparam(each, type_=UtcDateTime()) for each in _MOMENTS if f":{each}" in sql]
    return text(sql).bindparams(
        *moments,
        *(bindparam(each, expanding=True) for each in lists),
        *(bindparam(each, type_=Date()) for each in days),
    )
