"""What is left of the day's budget is what the guard before AI calls says: reservations count, yesterday does not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from teknav_ops.storage.tables import AiRun
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.workbench import Workbench
from workers.services.ai_ledger import AiDailyBudgetSpent, AiLedger, Limits


def begin(ledger: AiLedger, job_id: str) -> int:
    return ledger.begin(
        job_id=job_id, delivery=1, attempt=1, task="t", article_id=None, provider="p", model="m", trace_id=""
    )


def test_what_is_left_may_be_reserved_and_not_a_token_more(bench: Workbench) -> None:
    ledger = AiLedger(bench.database, Limits.of(bench.settings))
    done, running = begin(ledger, "done"), begin(ledger, "running")
    ledger.settle(done, input_tokens=1_000, output_tokens=200, micro_usd=400_000)
    ledger.reserve(running, "running", tokens=5_000, micro_usd=100_000)
    with bench.database.session() as session:
        old = begin(ledger, "yesterday")
        session.execute(
            update(AiRun).where(AiRun.id == old).values(started_at=utc_now() - timedelta(days=1), input_tokens=7)
        )

    budget = bench.ai_budget()

    assert (budget.tokens, budget.usd) == (6_200, pytest.approx(0.5))
    assert "0.5000 of " in budget.words and "6,200 of " in budget.words
    last = begin(ledger, "last")
    left = budget.token_limit - budget.tokens
    permissive = AiLedger(bench.database, Limits(10**12, int(budget.usd_limit * 1e6), 10**12, budget.token_limit))
    with pytest.raises(AiDailyBudgetSpent):
        permissive.reserve(last, "last", tokens=left + 1, micro_usd=0)
    permissive.reserve(last, "last", tokens=left, micro_usd=round(budget.usd_left * 1e6))
    assert bench.ai_budget().usd_left == pytest.approx(0)
