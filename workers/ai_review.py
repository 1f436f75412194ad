"""ai:review: how good an article is, by measure and by rubric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import update

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.payloads.ai_review import ReviewArticle
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.persian import normalise
from teknav_ops.storage.tables import AIReport, Article, ArticleQualityReport
from workers.services import Services
from workers.services.ai import AiTaskRun, Output
from workers.services.ai_text import Note, Quote, TextRules
from workers.services.article_text import ArticleText, language_of, prose, read_article
from workers.services.quality import find_problems, measure

#: How much each criterion counts.
WEIGHTS: Final = {"accuracy": 0.3, "clarity": 0.25, "structure": 0.15, "depth": 0.15, "language": 0.15}


class Verdict(Output):
    """A score from 0 to 100, why, and the passages that show it."""

    score: Annotated[int, Field(ge=0, le=100)]
    reason: Annotated[Note, Field(min_length=5, max_length=1_000)]
    quotes: Annotated[
        tuple[Annotated[Quote, Field(min_length=3, max_length=300)], ...], Field(min_length=1, max_length=3)
    ]


class Review(Output):
    """A verdict on each criterion of the rubric."""

    accuracy: Verdict
    clarity: Verdict
    structure: Verdict
    depth: Verdict
    language: Verdict
    summary: Annotated[Note, Field(min_length=10, max_length=1_500)]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By criterion."""
        return {name: getattr(self, name) for name in WEIGHTS}

    @property
    def total(self) -> float:
        """The weighted score, computed here and never by the model."""
        return round(sum(WEIGHTS[name] * verdict.score for name, verdict in self.verdicts.items()), 1)


@processor("review-article")
def review_article(job: ReviewArticle, ctx: JobContext[Services]) -> Mapping[str, Any]:
    """Measure the article, then have it reviewed. Without a model there are measures and no opinion.

    Runs twice safely: one report of each kind per job, and the article is marked in their transaction.
    """
    if done := SqlEffects(ctx.services.database).find(ctx.job_id):
        return done
    with ctx.services.ai.run(ctx, "review-article", job.article_id) as run:
        article = read_article(ctx.services.database, job.article_id)
        _keep_measures(ctx, article)
        review = _ask(run, article) if run.has_model else None
        return _keep_verdict(ctx, run, article, review)


def _keep_measures(ctx: JobContext[Services], article: ArticleText) -> None:
    """First, and by themselves: they stand whatever becomes of the review."""
    facts = {
        "article_id": article.id, "article_version": article.version, "language": article.language,
        "measures": measure(article), "findings": find_problems(article),
    }  # fmt: skip
    with ctx.services.database.session() as session:
        new = insert_into(session, ArticleQualityReport).values(job_id=ctx.job_id, **facts)
        session.execute(new.on_conflict_do_update(index_elements=["job_id"], set_=facts))


def _ask(run: AiTaskRun, article: ArticleText) -> Review:
    rules = TextRules(language_of(article))
    return run.ask(article.material(), Review, rules, lambda review: _invented_quotes(review, article))


def _invented_quotes(review: Review, article: ArticleText) -> list[str]:
    text = normalise(f"{article.title} {article.body}") + normalise(prose(article.body))
    return [
        f"{name}.quotes: {quote[:80]!r} does not stand in the article; copy passages letter by letter"
        for name, verdict in review.verdicts.items()
        for quote in verdict.quotes
        if not normalise(quote) or normalise(quote) not in text
    ]


def _keep_verdict(
    ctx: JobContext[Services], run: AiTaskRun, article: ArticleText, review: Review | None
) -> Mapping[str, Any]:
    passes_from = ctx.services.settings.ai_review_pass_score
    score = review.total if review else None
    status = "measured" if score is None else "passed" if score >= passes_from else "needs-work"
    summary = {"provider": run.provider_name, "status": status, "score": score, "version": article.version}
    with ctx.services.database.session() as session:
        if review is not None:
            session.add(_report(ctx.job_id, run, article, review))
        # An article that was edited meanwhile keeps the mark of the newer text; the reports say their version.
        session.execute(
            update(Article)
            .where(Article.id == article.id, Article.version == article.version)
            .values(review_status=status, ai_score=score)
        )
        record_effect(session, ctx.job_id, ctx.queue, summary)
        run.succeed(session)
    ctx.log.info("ai.reviewed", article_id=article.id, **summary)
    return summary


def _report(job_id: str, run: AiTaskRun, article: ArticleText, review: Review) -> AIReport:
    criteria = {name: verdict.model_dump(mode="json") for name, verdict in review.verdicts.items()}
    return AIReport(
        job_id=job_id, run_id=run.id, article_id=article.id, article_version=article.version,
        score=review.total, criteria=criteria, summary=review.summary, provider=run.provider_name,
    )  # fmt: skip
