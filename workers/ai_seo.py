"""ai:seo: what search engines are shown of an article."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import update

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import TransientError
from teknav_ops.payloads.ai_seo import GenerateSeo
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.tables import Article
from workers.services import Services, extractive
from workers.services.ai import AiTaskRun, Output
from workers.services.ai_text import TextRules, in_house_spelling
from workers.services.article_text import ArticleText, language_of, read_article


class ArticleChanged(TransientError):
    """The article was edited while its texts were being made; they are made again from the new version."""


class SeoTexts(Output):
    """Within the lengths that search engines show."""

    seo_title: Annotated[str, Field(min_length=15, max_length=extractive.TITLE_LIMIT_CHARACTERS)]
    meta_description: Annotated[str, Field(min_length=50, max_length=extractive.DESCRIPTION_LIMIT_CHARACTERS)]
    keywords: Annotated[
        tuple[Annotated[str, Field(min_length=2, max_length=60)], ...], Field(min_length=3, max_length=10)
    ]


@processor("generate-seo")
def generate_seo(job: GenerateSeo, ctx: JobContext[Services]) -> Mapping[str, Any]:
    """Set an article's title, description and keywords for search engines; without a model, from its own words.

    Runs twice safely: the article's row is changed once per job, and only in the version that was read.
    """
    if done := SqlEffects(ctx.services.database).find(ctx.job_id):
        return done
    with ctx.services.ai.run(ctx, "generate-seo", job.article_id) as run:
        article = read_article(ctx.services.database, job.article_id)
        texts = _ask(run, article) if run.has_model else _extract(article)
        return _keep(ctx, run, article, texts)


def _ask(run: AiTaskRun, article: ArticleText) -> dict[str, Any]:
    texts = run.ask(article.material(), SeoTexts, TextRules(language_of(article)))
    return {
        "seo_title": in_house_spelling(texts.seo_title, article.language),
        "meta_description": in_house_spelling(texts.meta_description, article.language),
        "keywords": [in_house_spelling(keyword, article.language) for keyword in texts.keywords],
    }


def _extract(article: ArticleText) -> dict[str, Any]:
    return {
        "seo_title": extractive.seo_title(article),
        "meta_description": extractive.meta_description(article),
        "keywords": extractive.keywords(article),
    }


def _keep(ctx: JobContext[Services], run: AiTaskRun, article: ArticleText, texts: dict[str, Any]) -> Mapping[str, Any]:
    summary = {"provider": run.provider_name, "keywords": len(texts["keywords"]), "version": article.version}
    with ctx.services.database.session() as session:
        same_version = (Article.id == article.id, Article.version == article.version)
        if not session.execute(update(Article).where(*same_version).values(**texts).returning(Article.id)).first():
            raise ArticleChanged(f"article {article.id} is no longer at version {article.version}")
        record_effect(session, ctx.job_id, ctx.queue, summary)
        run.succeed(session)
    ctx.log.info("ai.seo_set", article_id=article.id, **summary)
    return summary
