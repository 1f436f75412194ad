"""ai:content: drafts, summaries, translations and better versions, for editors to decide on.

Nothing here changes or publishes an article: a task fills a row of AiDraft or ArticleVersion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError
from teknav_ops.payloads.ai_content import EnhanceContent, GenerateDraft, GenerateSummary, Translate
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.tables import AiDraft, ArticleVersion
from workers.services import Services, extractive
from workers.services.ai import AiTaskRun, Output
from workers.services.ai_language import Language
from workers.services.ai_text import Body, Note, TextRules, code_problems, in_house_spelling, links, targets
from workers.services.article_text import ArticleText, language_of, read_article

Title = Annotated[str, Field(min_length=1, max_length=300)]
Text = Annotated[Body, Field(min_length=1, max_length=200_000)]
Context = JobContext[Services]


class SameLanguage(PermanentError):
    """The article is in the language it was to be translated into."""


class WrittenText(Output):
    """A title and a text."""

    title: Title
    body: Text


class WrittenSummary(Output):
    """A summary."""

    summary: Annotated[Body, Field(min_length=20, max_length=3_000)]


class EnhancedText(WrittenText):
    """A better version, and what is better about it."""

    changes: Annotated[tuple[Annotated[Note, Field(max_length=500)], ...], Field(min_length=1, max_length=30)]


@processor("generate-draft")
def generate_draft(job: GenerateDraft, ctx: Context) -> Mapping[str, Any]:
    """Have a draft written.

    Runs twice safely: one AiDraft per job; a second run finds it and asks nobody.
    """
    if done := _done(ctx):
        return done
    with ctx.services.ai.run(ctx, "generate-draft", article_id=None) as run:
        asked_for = frozenset(targets("\n".join([job.topic, *job.key_points])))
        text = run.ask(job.model_dump(mode="json"), WrittenText, TextRules(job.language, allowed=asked_for))
        return _keep_draft(ctx, run, "draft", None, job.language, text.title, text.body)


@processor("generate-summary")
def generate_summary(job: GenerateSummary, ctx: Context) -> Mapping[str, Any]:
    """Sum an article up; without a model, by its own most telling sentences.

    Runs twice safely: one AiDraft per job; a second run finds it and asks nobody.
    """
    if done := _done(ctx):
        return done
    with ctx.services.ai.run(ctx, "generate-summary", job.article_id) as run:
        article = read_article(ctx.services.database, job.article_id)
        if run.has_model:
            summary = run.ask(
                article.material(sentence_count=job.sentence_count), WrittenSummary, TextRules(language_of(article)),
            ).summary  # fmt: skip
        else:
            summary = extractive.summarise(article, job.sentence_count)
        return _keep_draft(ctx, run, "summary", article, article.language, article.title, summary)


@processor("translate")
def translate(job: Translate, ctx: Context) -> Mapping[str, Any]:
    """Have an article translated, with its links and code blocks as they are.

    Runs twice safely: one AiDraft per job; a second run finds it and asks nobody.
    """
    if done := _done(ctx):
        return done
    with ctx.services.ai.run(ctx, "translate", job.article_id) as run:
        article = read_article(ctx.services.database, job.article_id)
        if article.language == job.language:
            raise SameLanguage(f"language: article {article.id} is in {job.language} already")
        text = run.ask(
            article.material(target_language=job.language), WrittenText,
            _rules_of_a_version(article, job.language), lambda text: code_problems("body", text.body, article.body),
        )  # fmt: skip
        return _keep_draft(ctx, run, "translation", article, job.language, text.title, text.body)


@processor("enhance-content")
def enhance_content(job: EnhanceContent, ctx: Context) -> Mapping[str, Any]:
    """Have a better version proposed, which an editor accepts or refuses.

    Runs twice safely: one ArticleVersion per job; a second run finds it and asks nobody.
    """
    if done := _done(ctx):
        return done
    with ctx.services.ai.run(ctx, "enhance-content", job.article_id) as run:
        article = read_article(ctx.services.database, job.article_id)
        text = run.ask(
            article.material(goals=list(job.goals)), EnhancedText,
            _rules_of_a_version(article, language_of(article)),
            lambda text: code_problems("body", text.body, article.body),
        )  # fmt: skip
        version = ArticleVersion(
            job_id=ctx.job_id, run_id=run.id, article_id=article.id, based_on_version=article.version,
            title=in_house_spelling(text.title, article.language), provider=run.provider_name,
            body=in_house_spelling(text.body, article.language), changes=list(text.changes),
        )  # fmt: skip
        return _keep(ctx, run, version, {"changes": len(text.changes), "characters": len(text.body)})


def _rules_of_a_version(article: ArticleText, language: Language) -> TextRules:
    known = frozenset(targets(article.body))
    return TextRules(language, allowed=known, required=frozenset(links(article.body)))


def _done(ctx: Context) -> Mapping[str, Any] | None:
    """What an earlier run of this job has done: a model's answer is paid for once."""
    return SqlEffects(ctx.services.database).find(ctx.job_id)


def _keep_draft(
    ctx: Context, run: AiTaskRun, kind: str, article: ArticleText | None, language: str, title: str, body: str
) -> Mapping[str, Any]:
    draft = AiDraft(
        job_id=ctx.job_id, run_id=run.id, kind=kind, language=language, provider=run.provider_name,
        article_id=article.id if article else None, article_version=article.version if article else None,
        title=in_house_spelling(title, language), body=in_house_spelling(body, language),
    )  # fmt: skip
    return _keep(ctx, run, draft, {"kind": kind, "language": language, "characters": len(body)})


def _keep(ctx: Context, run: AiTaskRun, row: AiDraft | ArticleVersion, facts: dict[str, Any]) -> Mapping[str, Any]:
    with ctx.services.database.session() as session:
        session.add(row)
        session.flush()
        summary = {"id": row.id, "provider": run.provider_name, **facts}
        record_effect(session, ctx.job_id, ctx.queue, summary)
        run.succeed(session)
    ctx.log.info("ai.written", task=ctx.name, **summary)
    return summary
