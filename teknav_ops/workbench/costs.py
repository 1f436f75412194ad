"""What AI runs cost, with the articles' titles, and what is left of the day's budget, for `ai_costs`."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from teknav_ops.snapshots import questions
from teknav_ops.snapshots.questions.telling import CostKey
from teknav_ops.storage.tables import Article

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

#: Titles are looked up for so many of the dearest articles.
_TITLES: Final = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """The day's (UTC) budget and what of it was used up to the snapshot's moment."""

    day: datetime
    usd: float
    usd_limit: float
    tokens: int
    token_limit: int

    @property
    def usd_left(self) -> float:
        """What may still be spent today."""
        return max(0.0, self.usd_limit - self.usd)

    @property
    def words(self) -> str:
        """One sentence."""
        return (
            f"Of {self.day:%Y-%m-%d}'s budget {self.usd:,.4f} of {self.usd_limit:,.2f} USD and {self.tokens:,} of "
            f"{self.token_limit:,} tokens are used; {self.usd_left:,.2f} USD are left. Over either, jobs wait for the "
            "next day."
        )


def costs(bench: Workbench, *, by: CostKey, since: datetime, until: datetime) -> pandas.DataFrame:
    """`questions.ai_costs`, without the keyless; by article with `title`, None where the article is gone."""
    frame = questions.ai_costs(bench.snapshot, by=by, since=since, until=until)
    frame = frame[frame["key"].notna()].reset_index(drop=True)
    if by == "article":
        titles = _titles(bench, [int(key) for key in frame["key"].head(_TITLES)])
        frame.insert(1, "title", [titles.get(int(key)) for key in frame["key"]])
    return frame


def budget(bench: Workbench) -> Budget:
    """The budget of the day in which the snapshot was made."""
    until = bench.snapshot.meta.exported_at
    day = until.replace(hour=0, minute=0, second=0, microsecond=0)
    spent = questions.ai_costs(bench.snapshot, by="day", since=day, until=until)
    settings = bench.settings
    return Budget(
        day=day, usd=float(spent["cost_usd"].sum()), usd_limit=settings.ai_daily_usd_limit,
        tokens=int(spent["input_tokens"].sum() + spent["output_tokens"].sum()),
        token_limit=settings.ai_daily_token_limit,
    )  # fmt: skip


def _titles(bench: Workbench, ids: list[int]) -> dict[int, str]:
    if not ids:
        return {}
    with bench.database.reading() as session:
        return dict(session.execute(select(Article.id, Article.title).where(Article.id.in_(ids))).tuples().all())
