"""Budgets: what may be spent is checked before the call, under a lock, and survives dead workers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from teknav_ops.errors import PermanentError, TekNavError
from teknav_ops.payloads.ai_content import EnhanceContent, GenerateDraft, GenerateSummary, Translate
from teknav_ops.payloads.ai_review import ReviewArticle
from teknav_ops.payloads.ai_seo import GenerateSeo
from teknav_ops.platform.ai_prices import Price, find_price, idle_limits
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AiDraft, AiEventLog, AiRun
from tests.support.ai_server import AiServer, Reply
from tests.workers.ai_cases import add_article, events, rows, runs, with_model
from tests.workers.conftest import MakeContext, MakeServices, MakeSettings
from workers.ai_content import enhance_content, generate_draft, generate_summary, translate
from workers.ai_review import review_article
from workers.ai_seo import generate_seo
from workers.services import Services
from workers.services.ai_ledger import AiDailyBudgetSpent, AiJobOverBudget, AiLedger, Limits
from workers.services.ai_provider import AiUnavailable
from workers.services.article_text import EmptyArticle

DRAFT = {"title": "نیم‌فاصله", "body": "نیم‌فاصله نویسه‌ای است که می‌نویسیم و نمی‌بینیم."}
ORDER = GenerateDraft(topic="نیم‌فاصله در وب")


@pytest.fixture
def model() -> Iterator[AiServer]:
    with AiServer() as server:
        server.replies = [Reply(DRAFT)]
        yield server


def begin(ledger: AiLedger, job_id: str, delivery: int = 1) -> int:
    return ledger.begin(
        job_id=job_id, delivery=delivery, attempt=1, task="t", article_id=None, provider="p", model="m", trace_id=""
    )


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"ai_job_usd_limit": 0.001}, AiJobOverBudget),
        ({"ai_job_token_limit": 500}, AiJobOverBudget),
        ({"ai_daily_usd_limit": 0.001}, AiDailyBudgetSpent),
        ({"ai_daily_token_limit": 500}, AiDailyBudgetSpent),
    ],
)
def test_a_run_over_budget_stops_before_the_call(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, limits: dict[str, float], error: type
) -> None:
    services = with_model(make_services, model, **limits)
    with pytest.raises(error) as raised:
        generate_draft(ORDER, make_context(services=services))

    assert model.requests == [] and rows(services, AiDraft) == []
    (run,) = runs(services)
    assert (run.status, run.error_type, run.cost_micro_usd) == ("stopped", error.__name__, None)
    assert [entry.kind for entry in events(services)] == ["stopped"]
    if error is AiDailyBudgetSpent:
        assert 0 < raised.value.retry_after_seconds <= 86_400
    else:
        assert isinstance(raised.value, PermanentError)


@pytest.mark.each_database
def test_what_a_jobs_failed_attempts_took_counts_against_the_job(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    # The first attempt takes 3,000 and 14,000 of 95,000; the next call could take 80,000 and a little: too much.
    model.replies = [Reply("no", usage=(1_000, 200)), Reply("no", usage=(2_000, 1_200)), Reply(DRAFT)]
    services = with_model(make_services, model, ai_job_usd_limit=0.095)
    for delivery, error in ((1, "AiOutputInvalid"), (2, "AiJobOverBudget")):
        with pytest.raises(TekNavError):
            generate_draft(ORDER, make_context("same", delivery=delivery, services=services))
        assert runs(services)[-1].error_type == error

    assert len(model.requests) == 2


def test_yesterdays_spending_does_not_count_today(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    services = with_model(make_services, model, ai_daily_usd_limit=0.09)
    generate_draft(ORDER, make_context(services=services))
    with services.database.session() as session:
        session.execute(update(AiRun).values(cost_micro_usd=89_000))
    with pytest.raises(AiDailyBudgetSpent, match=r"\$0\.0890 spent today"):
        generate_draft(ORDER, make_context(services=services))
    with services.database.session() as session:
        session.execute(update(AiRun).values(started_at=datetime.now(UTC) - timedelta(days=1)))

    generate_draft(ORDER, make_context(services=services))


def test_workers_who_ask_at_once_cannot_overdraw_together(database: Database) -> None:
    ledger = AiLedger(database, Limits(10_000, 35, 10_000, 10_000))
    ids = [begin(ledger, f"job-{number}") for number in range(8)]
    passed: list[int] = []
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        try:
            ledger.reserve(ids[number], f"job-{number}", tokens=10, micro_usd=10)
            passed.append(number)
        except AiDailyBudgetSpent:
            pass

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(passed) == 3


def test_a_dead_workers_reservation_counts_and_a_settled_one_is_replaced(database: Database) -> None:
    ledger = AiLedger(database, Limits(100, 100, 10_000, 10_000))
    first, second = begin(ledger, "a"), begin(ledger, "b")
    ledger.reserve(first, "a", tokens=10, micro_usd=80)
    with pytest.raises(AiDailyBudgetSpent):
        ledger.reserve(second, "b", tokens=10, micro_usd=30)

    ledger.settle(first, input_tokens=4, output_tokens=1, micro_usd=5)
    ledger.reserve(second, "b", tokens=10, micro_usd=30)


def test_a_run_begins_once_and_ends_once(database: Database) -> None:
    ledger = AiLedger(database, Limits(100, 100, 100, 100))
    first, another = begin(ledger, "a"), begin(ledger, "b")
    assert begin(ledger, "a") == first

    ledger.end(first, status="failed", error=ValueError("x"), duration_ms=1)
    ledger.end(first, status="succeeded", error=None, duration_ms=1)
    second, third = begin(ledger, "a", delivery=2), begin(ledger, "a", delivery=3)
    with database.reading() as session:
        status = {run: session.get_one(AiRun, run).status for run in (first, second, third, another)}
    # A delivery that begins shows that the one before it has ended without a word.
    assert status == {first: "failed", second: "lost", third: "running", another: "running"}
    with database.reading() as session:
        told = session.execute(select(AiEventLog.run_id, AiEventLog.kind).order_by(AiEventLog.id)).all()
    assert [tuple(event) for event in told] == [(first, "failed"), (second, "lost")]


def test_prices_come_from_the_settings_then_the_list_and_are_never_guessed(make_settings: MakeSettings) -> None:
    assert find_price(make_settings(ai_input_usd_per_million=1, ai_output_usd_per_million=2), "x") == Price(1.0, 2.0)
    listed = find_price(make_settings(ai_base_url="https://api.openai.com/v1"), "gpt-5-mini")
    assert listed is not None and 0 < listed.input < listed.output
    gateway = make_settings(ai_base_url="http://127.0.0.1:11434/v1")
    assert find_price(gateway, "gpt-5-mini") == listed and find_price(gateway, "our-own-model") is None
    assert Price(0.25, 2.0).of(1, 1) == 3


@pytest.mark.each_database
def test_an_unknown_price_is_unknown_in_the_books_and_tokens_still_bound_the_day(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    free = {"ai_input_usd_per_million": None, "ai_output_usd_per_million": None, "ai_daily_usd_limit": 0}
    services = with_model(make_services, model, **free, ai_daily_token_limit=9_500)
    generate_draft(ORDER, make_context(services=services))

    assert (runs(services)[0].cost_micro_usd, runs(services)[0].input_tokens) == (None, 1_000)
    with pytest.raises(AiDailyBudgetSpent, match="tokens spent today"):
        generate_draft(ORDER, make_context(services=services))


@pytest.mark.parametrize(
    "usage",
    [(-5_000, -1_000), (10**9, 10**9), (0, 0), (1, 1), (2.5, "many"), (None, None), (True, True)],
    ids=repr,
)
def test_usage_that_cannot_be_true_is_counted_here(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, usage: Any
) -> None:
    model.replies = [Reply(DRAFT, usage=(0, 0))]
    model.replies[0].usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": 0}
    services = with_model(make_services, model)
    generate_draft(ORDER, make_context(services=services))

    (run,) = runs(services)
    sent = sum(len(message["content"].encode()) for message in model.requests[0]["messages"])
    written = len(json.dumps(DRAFT, ensure_ascii=False).encode())
    assert sent / 20 <= run.input_tokens <= sent and written / 20 <= run.output_tokens <= written
    assert run.cost_micro_usd == run.input_tokens + 10 * run.output_tokens > 0
    assert "counted here" in (events(services)[0].detail or "")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_in_place_of_an_answer_is_no_answer_and_costs_nothing(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, kind: str, streams: bool
) -> None:
    model.replies = [Reply(raw="<html><body>Sign in to the hotel's network</body></html>", kind=kind)]
    services = with_model(make_services, model, ai_streaming=streams)
    with pytest.raises(AiUnavailable):
        generate_draft(ORDER, make_context(services=services))

    (run,) = runs(services)
    assert (run.status, run.error_type, run.cost_micro_usd or 0) == ("failed", "AiUnavailable", 0)
    # Nor is anything kept aside: a sign-in page must not use up the day's budget.
    assert (run.call_count, run.reserved_tokens, run.reserved_micro_usd) == (1, 0, None)


def test_an_answer_that_is_nested_too_deep_is_no_answer(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [Reply(raw="[" * 100_000)]
    with pytest.raises(AiUnavailable, match="none of the API's"):
        generate_draft(ORDER, make_context(services=with_model(make_services, model)))


@pytest.mark.parametrize("damage", ["data: {oops\n\n", "data: null\n\n", 'data: {"choices": [{"delta": null}]}\n\n'])
def test_a_stream_that_is_damaged_in_its_middle_keeps_what_was_set_aside(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, damage: str
) -> None:
    begun = 'data: {"model": "m", "choices": [{"index": 0, "delta": {"content": "words"}}]}\n\n'
    model.replies = [Reply(raw=begun + damage, kind="text/event-stream")]
    services = with_model(make_services, model, ai_streaming=True)
    with pytest.raises(AiUnavailable):
        generate_draft(ORDER, make_context(services=services))

    (run,) = runs(services)
    assert (run.call_count, run.reserved_tokens > 0) == (1, True)


@pytest.mark.parametrize(
    "body",
    [
        "",
        " \n\u200c\u200f\n",
        "# \n\n---\n",
        "![](https://teknav.example/p.png)",
        "<p></p>",
        "<p><br/></p>\n&nbsp;",
        "<!-- to do\n\nlater -->",
        '<img src="/a.jpg">',
        "[1]: https://teknav.example/x 'A title'",
        "```python\n\n```",
        "[![](a.jpg)](https://teknav.example/b)",
        "<https://teknav.example/x>",
        "https://teknav.example/x",
        "&#8204;",
        "![](a_(1).jpg)",
        "<style>p { color: red }</style>",
        "1.\n2.",
    ],
)
@pytest.mark.parametrize("has_model", [True, False])
def test_an_article_without_words_is_refused_before_anything_is_asked(
    make_services: MakeServices,
    model: AiServer,
    make_context: MakeContext,
    services: Services,
    body: str,
    has_model: bool,
) -> None:
    used = with_model(make_services, model) if has_model else services
    article_id = add_article(used, body=body)
    for act, wanted in (
        (generate_summary, GenerateSummary(article_id=article_id)), (generate_seo, GenerateSeo(article_id=article_id)),
        (translate, Translate(article_id=article_id, language="en")),
        (review_article, ReviewArticle(article_id=article_id)),
        (enhance_content, EnhanceContent(article_id=article_id)),
    ):  # fmt: skip
        with pytest.raises(EmptyArticle, match="has no text"):
            act(wanted, make_context(services=used))  # type: ignore[operator]
    assert model.requests == []


def test_limits_that_cannot_bind_are_named(make_settings: MakeSettings) -> None:
    def told(price: Price | None, **facts: Any) -> list[str]:
        return [words for words, _ in idle_limits(make_settings(ai_model="m", **facts), price)]

    assert told(Price(1, 2)) == []
    assert "no price is known of m" in told(None)[0]
    assert "costs nothing" in told(Price(0, 0))[0]
    assert "stops every call" in told(Price(1, 100))[0]
    assert "TOKEN_LIMIT stops every call" in told(Price(1, 2), ai_output_token_limit=200_000, ai_job_usd_limit=9)[0]
    assert "day's limit is lower" in told(Price(1, 2), ai_daily_usd_limit=0.1)[0]
