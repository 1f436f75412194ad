"""media:optimize: turn an uploaded image into web-sized variants."""

from __future__ import annotations

import hashlib
from typing import Any

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.payloads.redaction import error_text
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import File
from workers.services import Services
from workers.services.images import BYTE_LIMIT, ImageFacts, inspect, placeholder, renditions, variant_widths


class UnknownFile(PermanentError):
    """No File row has this id."""


@processor("optimize-image")
def optimize_image(job: OptimizeImage, ctx: JobContext[Services]) -> dict[str, Any]:
    """Write the variants, then what is known of them onto the File row.

    Runs twice safely: variants are named by their content, so a second run writes the same files,
    and what they are is only told together with the record of the effect.
    """
    stored = _begin(job, ctx)
    ctx.services.media.remove_stale_drafts()
    try:
        content = ctx.services.media.read(stored, limit_bytes=BYTE_LIMIT)
        facts = inspect(content)
        variants = _make_variants(job, ctx, content, facts)
        preview = placeholder(content)
    except BaseException as error:
        # The end of the time limit is no Exception.
        _record_failure(job, ctx, error)
        raise
    summary = _summary(facts, len(content), variants)
    _update(
        job, ctx, summary, status="optimized", error=None, variants=variants, placeholder=preview,
        media_type=facts.media_type, width=facts.width, height=facts.height,
        byte_count=len(content), sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    ctx.log.info("media.optimized", file_id=job.file_id, **summary)
    return summary


def _summary(facts: ImageFacts, byte_count: int, variants: list[dict[str, Any]]) -> dict[str, Any]:
    widest = variants[-1]["width"]
    return {
        "width": facts.width,
        "height": facts.height,
        "variants": len(variants),
        "bytes_before": byte_count,
        **({"note": facts.note} if facts.note else {}),
        "bytes_smallest_format": min(variant["bytes"] for variant in variants if variant["width"] == widest),
    }


def _begin(job: OptimizeImage, ctx: JobContext[Services]) -> str:
    """Say on the row that this job works on it; answers where the upload is. What is optimized stays so meanwhile."""
    with ctx.services.database.session() as session:
        file = session.get(File, job.file_id, with_for_update=True)
        if file is None:
            raise UnknownFile(f"file_id: there is no file {job.file_id}")
        file.job_id = ctx.job_id
        file.status = _unless_optimized(file, "optimizing")
        return file.storage_path


def _unless_optimized(file: File, status: str) -> str:
    return file.status if file.status == "optimized" else status


def _record_failure(job: OptimizeImage, ctx: JobContext[Services], error: BaseException) -> None:
    with ctx.services.database.session() as session:
        file = session.get_one(File, job.file_id, with_for_update=True)
        file.job_id, file.error = ctx.job_id, f"{type(error).__name__}: {error_text(error)}"
        if isinstance(error, PermanentError):
            file.status = "rejected"
        else:
            file.status = _unless_optimized(file, "failed" if ctx.is_last_try(error) else "optimizing")


def _make_variants(
    job: OptimizeImage, ctx: JobContext[Services], content: bytes, facts: ImageFacts
) -> list[dict[str, Any]]:
    expected = len(variant_widths(facts, job.widths)) * len(set(job.formats))
    variants = []
    for rendition in renditions(content, facts, job.widths, job.formats):
        path = ctx.services.media.put(rendition.content, folder="variants", suffix=rendition.format)
        variants.append(
            {
                "format": rendition.format,
                "width": rendition.width,
                "height": rendition.height,
                "bytes": len(rendition.content),
                "path": path,
            }
        )
        ctx.report_progress(len(variants) / expected, f"{rendition.width} px {rendition.format}")
    return variants


def _update(job: OptimizeImage, ctx: JobContext[Services], summary: dict[str, Any], **facts: Any) -> None:
    with ctx.services.database.session() as session:
        file = session.get_one(File, job.file_id)
        for name, value in (facts | {"job_id": ctx.job_id}).items():
            setattr(file, name, value)
        record_effect(session, ctx.job_id, ctx.queue, summary)
