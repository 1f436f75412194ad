"""ai:review: measures always, opinions only from a model, and only with evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from teknav_ops.payloads.ai_review import ReviewArticle
from teknav_ops.storage.tables import AIReport, ArticleQualityReport
from tests.support.ai_server import AiServer, Reply
from tests.workers.ai_cases import EN_BODY, add_article, article, rows, runs, with_model
from tests.workers.conftest import MakeContext, MakeServices
from workers.ai_review import WEIGHTS, review_article
from workers.services import Services
from workers.services.ai import AiOutputInvalid
from workers.services.ai_provider import AiUnavailable
from workers.services.article_text import ArticleText, prose, sentences
from workers.services.quality import find_problems, measure, readability


def verdict(score: int = 80, quote: str = "failed jobs wait for a person") -> dict[str, Any]:
    return {"score": score, "reason": "It says so plainly.", "quotes": [quote]}


def review(**changed: Any) -> dict[str, Any]:
    return {**{name: verdict() for name in WEIGHTS}, "summary": "Strong lead; add an example first.", **changed}


@pytest.fixture
def model() -> Iterator[AiServer]:
    with AiServer() as server:
        server.replies = [Reply(review())]
        yield server


@pytest.fixture
def ai_services(make_services: MakeServices, model: AiServer) -> Services:
    return with_model(make_services, model)


def test_an_article_is_scored_with_evidence(ai_services: Services, model: AiServer, make_context: MakeContext) -> None:
    model.replies = [Reply(review(accuracy=verdict(40), clarity=verdict(60)))]
    article_id = add_article(ai_services, "en")
    ctx = make_context(services=ai_services)

    summary = review_article(ReviewArticle(article_id=article_id), ctx)

    # 0.3 × 40 + 0.25 × 60 + 0.45 × 80
    assert summary["score"] == 63.0
    (report,) = rows(ai_services, AIReport)
    assert (report.score, report.article_version) == (63.0, 1)
    assert report.criteria["accuracy"] == verdict(40)
    kept = article(ai_services, article_id)
    assert (kept.review_status, kept.ai_score) == ("needs-work", 63.0)
    assert review_article(ReviewArticle(article_id=article_id), ctx) == summary and len(model.requests) == 1


def test_a_score_from_the_setting_on_passes(
    make_services: MakeServices, model: AiServer, make_context: MakeContext
) -> None:
    services = with_model(make_services, model, ai_review_pass_score=80)
    article_id = add_article(services, "en")
    review_article(ReviewArticle(article_id=article_id), make_context(services=services))

    assert article(services, article_id).review_status == "passed"


def test_a_quote_that_is_not_in_the_article_is_no_evidence(
    ai_services: Services, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [Reply(review(depth=verdict(95, "The best article ever written")))]
    article_id = add_article(ai_services, "en")
    with pytest.raises(AiOutputInvalid, match="does not stand in the article"):
        review_article(ReviewArticle(article_id=article_id), make_context(services=ai_services))

    assert rows(ai_services, AIReport) == []
    assert len(rows(ai_services, ArticleQualityReport)) == 1
    assert article(ai_services, article_id).review_status is None


@pytest.mark.parametrize("wrong", [{"accuracy": {**verdict(), "score": 101}}, {"clarity": None}, {"total": 100}])
def test_scores_out_of_range_and_fields_out_of_place_are_refused(
    ai_services: Services, model: AiServer, make_context: MakeContext, wrong: dict[str, Any]
) -> None:
    model.replies = [Reply(review(**wrong))]
    with pytest.raises(AiOutputInvalid):
        review_article(ReviewArticle(article_id=add_article(ai_services, "en")), make_context(services=ai_services))


def test_persian_quotes_are_found_whatever_their_letters(
    ai_services: Services, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [
        Reply({**{name: verdict(90, "كنار گذاشته مي‌شود") for name in WEIGHTS}, "summary": "Good and short."})
    ]
    article_id = add_article(ai_services)
    review_article(ReviewArticle(article_id=article_id), make_context(services=ai_services))

    assert article(ai_services, article_id).ai_score == 90.0


@pytest.mark.each_database
def test_the_measures_stand_when_the_model_fails_and_are_replaced_by_the_next_run(
    ai_services: Services, model: AiServer, make_context: MakeContext
) -> None:
    model.replies = [Reply(status=500), Reply(review())]
    article_id = add_article(ai_services, "en")
    ctx = make_context(services=ai_services)
    with pytest.raises(AiUnavailable):
        review_article(ReviewArticle(article_id=article_id), ctx)
    assert len(rows(ai_services, ArticleQualityReport)) == 1

    review_article(ReviewArticle(article_id=article_id), make_context(ctx.job_id, delivery=2, services=ai_services))
    assert len(rows(ai_services, ArticleQualityReport)) == len(rows(ai_services, AIReport)) == 1


def test_without_a_model_there_is_no_opinion(services: Services, make_context: MakeContext) -> None:
    article_id = add_article(services)
    summary = review_article(ReviewArticle(article_id=article_id), make_context())

    assert (summary["status"], summary["score"], rows(services, AIReport)) == ("measured", None, [])
    (report,) = rows(services, ArticleQualityReport)
    assert report.measures["sentence_count"] == 3 and "coleman_liau_index" not in report.measures
    assert (article(services, article_id).review_status, runs(services)[0].status) == ("measured", "succeeded")


def test_readability_is_the_published_formula() -> None:
    words = ["word"] * 90 + ["readability"] * 10
    # 4.7 characters per word, 20 words per sentence.
    assert readability(words, 5) == {"automated_readability_index": 10.7, "coleman_liau_index": 10.4}
    english = measure(ArticleText(1, 1, "en", "t", EN_BODY))
    assert {"automated_readability_index", "coleman_liau_index"} <= set(english)
    assert (english["sentence_count"], english["link_count"]) == (3, 1)


def test_places_to_look_at_are_named_with_a_quote() -> None:
    long = "word " * 41 + "end."
    assert [found["rule"] for found in find_problems(ArticleText(1, 1, "en", "t", long))] == ["long-sentence"]
    persian = ArticleText(1, 1, "fa", "t", "این كتاب خوب است. او می رود. می‌شود.")
    quotes = {found["rule"]: found["quote"] for found in find_problems(persian)}
    assert set(quotes) == {"arabic-letter", "missing-half-space"}
    assert "كتاب" in quotes["arabic-letter"] and "می رود" in quotes["missing-half-space"]
    bare = "One two three. " * 250
    assert {"no-headings", "long-paragraph"} == {f["rule"] for f in find_problems(ArticleText(1, 1, "en", "t", bare))}
    assert find_problems(ArticleText(1, 1, "en", "t", "")) == []


def test_prose_and_sentences() -> None:
    markdown = (
        "# Title\n\nSee [the *docs*](https://x.example/a_b) for `code`.\nIt is 3.5 times faster!\n\n"
        "```\nx. y. z.\n```\n\n- one\n- two؟ سه"
    )
    assert prose(markdown) == "Title\n\nSee the docs for code. It is 3.5 times faster!\n\none two؟ سه"
    assert sentences(prose(markdown)) == [
        "Title",
        "See the docs for code.",
        "It is 3.5 times faster!",
        "one two؟",
        "سه",
    ]
