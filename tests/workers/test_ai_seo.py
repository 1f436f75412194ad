"""ai:seo, with a model and without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from teknav_ops.payloads.ai_seo import GenerateSeo
from teknav_ops.sample_content import read_articles
from teknav_ops.storage.tables import Article
from tests.support.ai_server import AiServer, Reply
from tests.workers.ai_cases import add_article, article, runs, with_model
from tests.workers.conftest import MakeContext, MakeServices
from workers.ai_seo import ArticleChanged, generate_seo
from workers.services import Services, extractive
from workers.services.ai import AiOutputInvalid
from workers.services.article_text import ArticleText, UnknownArticle

GOOD = {
    "seo_title": "صف نامه‌های مرده به چه کار می‌آید",
    "meta_description": "کارهای شکست‌خورده کجا می‌مانند و مهندس چگونه دربارهٔ هر دسته از آن‌ها تصمیم می‌گیرد.",
    "keywords": ["صف نامه‌های مرده", "پایداری", "عملیات"],
}


@pytest.fixture
def model() -> Iterator[AiServer]:
    with AiServer() as server:
        server.replies = [Reply(GOOD)]
        yield server


@pytest.mark.each_database
def test_an_article_gets_its_texts(make_services: MakeServices, model: AiServer, make_context: MakeContext) -> None:
    services = with_model(make_services, model)
    article_id = add_article(services)
    ctx = make_context(services=services)

    assert generate_seo(GenerateSeo(article_id=article_id), ctx) == generate_seo(
        GenerateSeo(article_id=article_id), ctx
    )

    kept = article(services, article_id)
    assert {name: getattr(kept, name) for name in GOOD} == GOOD
    assert (kept.version, len(model.requests), runs(services)[0].status) == (1, 1, "succeeded")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seo_title": "ص" * 61},
        {"meta_description": "کوتاه"},
        {"keywords": ["یک"]},
        {"seo_title": "What a dead-letter queue is for"},
        {"meta_description": GOOD["meta_description"] + " https://evil.example"},  # type: ignore[operator]
    ],
    ids=["long title", "short description", "few keywords", "language", "link"],
)
def test_texts_that_search_engines_would_not_show_are_refused(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, wrong: dict[str, object]
) -> None:
    model.replies = [Reply({**GOOD, **wrong})]
    services = with_model(make_services, model)
    article_id = add_article(services)
    with pytest.raises(AiOutputInvalid, match=next(iter(wrong))):
        generate_seo(GenerateSeo(article_id=article_id), make_context(services=services))

    assert article(services, article_id).seo_title is None


def test_an_article_edited_meanwhile_is_left_alone_and_done_again(
    make_services: MakeServices, model: AiServer, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = with_model(make_services, model)
    article_id = add_article(services)
    answer = model.answer

    def edit_first(handler: object, request: dict[str, object]) -> None:
        with services.database.session() as session:
            session.execute(update(Article).values(version=Article.version + 1, title="تازه"))
        answer(handler, request)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "answer", edit_first)
    with pytest.raises(ArticleChanged, match="no longer at version 1"):
        generate_seo(GenerateSeo(article_id=article_id), make_context(services=services))
    assert article(services, article_id).seo_title is None and runs(services)[0].cost_micro_usd == 3_000

    monkeypatch.setattr(model, "answer", answer)
    generate_seo(GenerateSeo(article_id=article_id), make_context(services=services))
    assert article(services, article_id).seo_title == GOOD["seo_title"]


def test_an_article_that_is_gone(services: Services, make_context: MakeContext) -> None:
    with pytest.raises(UnknownArticle):
        generate_seo(GenerateSeo(article_id=7), make_context())
    assert runs(services)[0].error_type == "UnknownArticle"


def test_without_a_model_the_texts_are_the_articles_own(services: Services, make_context: MakeContext) -> None:
    sample = next(sample for sample in read_articles() if sample.slug == "saf-payam-morde")
    article_id = add_article(services, title=sample.title, body=sample.body)

    assert generate_seo(GenerateSeo(article_id=article_id), make_context())["provider"] == "extractive"

    kept = article(services, article_id)
    assert kept.seo_title == sample.title
    assert kept.meta_description and kept.meta_description.rstrip("…") in sample.body
    assert kept.keywords and "نامه‌های مرده" in kept.keywords


@pytest.mark.parametrize("sample", read_articles(), ids=lambda sample: sample.slug)
def test_extraction_invents_nothing_and_keeps_the_limits(sample: object) -> None:
    text = ArticleText(1, 1, sample.language, sample.title, sample.body)  # type: ignore[attr-defined]
    whole = f"{text.title} {' '.join(text.body.split())}"

    assert len(extractive.seo_title(text)) <= 60 and len(extractive.meta_description(text)) <= 160
    terms = extractive.keywords(text)
    assert 3 <= len(terms) <= 8 and all(word in whole for term in terms for word in term.split())
    summary = extractive.summarise(text, 3)
    assert summary and all(part.strip() in " ".join(text.body.replace("`", "").replace("*", "").split())
                           for part in summary.split(". ")[:1])  # fmt: skip


@pytest.mark.parametrize("body", ["", "```\ncode only\n```", "؟", "word", "!" * 5_000, "می" * 3_000])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_extraction_bears_texts_with_nothing_in_them(body: str, language: str) -> None:
    text = ArticleText(1, 1, language, "عنوان", body)
    assert extractive.summarise(text, 2)
    assert len(extractive.meta_description(text)) <= 160
    assert isinstance(extractive.keywords(text), list)
