"""What AI runs cost, with the articles' titles, and what is left of the day's budget, for `ai_costs`."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from teknav_ops.platform.ai_spending import midnight, spent_on_day_of
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
    """The day's (UTC) budget, and what of it is spent or set aside now: the figures by which calls are stopped."""

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
            f"{self.token_limit:,} tokens are spent or set aside; {self.usd_left:,.2f} USD are left. Over either, jobs "
            "wait for the next day."
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
    """Today's budget, as of now. Raises StorageUnavailable."""
    now, settings = datetime.now(UTC), bench.settings
    with bench.database.reading() as session:
        taken = spent_on_day_of(session, now)
    return Budget(
        day=midnight(now), usd=taken.micro_usd / 1e6, usd_limit=settings.ai_daily_usd_limit, tokens=taken.tokens,
        token_limit=settings.ai_daily_token_limit,
    )  # fmt: skip


def _titles(bench: Workbench, ids: list[int]) -> dict[int, str]:
    if not ids:
        return {}
    with bench.database.reading() as session:
        return dict(session.execute(select(Article.id, Article.title).where(Article.id.in_(ids))).tuples().all())
