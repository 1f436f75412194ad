"""What steps do to the world beside jobs: HTTP and articles. Each may be begun again after a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from teknav_ops.errors import InvalidRequest, PermanentError, TransientError
from teknav_ops.outbound.http import OutboundHttp
from teknav_ops.payloads import plain
from teknav_ops.platform.article_changes import ArticleChanges
from teknav_ops.platform.workflow_definition import HttpStep
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article
from teknav_ops.storage.tables.base import utc_now

_HTTP_SECONDS = 15.0
_RETRIED = frozenset({408, 409, 425, 429})
#: What expressions see of the run's article.
_ARTICLE_FIELDS: Final = ("id", "slug", "language", "title", "status", "version", "author", "tags", "seo_title",
                          "meta_description", "keywords", "review_status", "ai_score")  # fmt: skip


class HttpStepRefused(PermanentError):
    """The address answered with 3xx or 4xx."""


class HttpStepFailed(TransientError):
    """The address answered with 5xx, 408, 409, 425 or 429."""


def call_http(http: OutboundHttp, step: HttpStep, filled: dict[str, Any], *, key: str) -> dict[str, Any]:
    """One request; the output is status, body (JSON where it is) and duration.

    Raises:
        HttpStepRefused, HttpStepFailed: by status. AddressBlocked and other errors of the client come through.
    """
    body = filled.get("body")
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", **filled.get("headers", {}), "idempotency-key": key}
    answer = http.request(
        step.method, filled["url"], headers=headers, content=content,
        timeout_seconds=step.timeout_seconds or _HTTP_SECONDS,
    )  # fmt: skip
    text = answer.body.decode(errors="replace").replace("\0", "")
    if answer.status in _RETRIED or answer.status >= 500:
        raise HttpStepFailed(f"the address answered {answer.status}: {text[:200]}")
    if answer.status >= 300:
        raise HttpStepRefused(f"the address answered {answer.status}: {text[:200]}")
    try:
        parsed: Any = plain.read(text)
    except ValueError:
        parsed = text
    return {"status": answer.status, "body": parsed, "duration_ms": round(answer.duration_ms, 1)}


def read_article(database: Database, article_id: Any) -> Mapping[str, Any] | None:
    """The article as expressions see it; None where the run has none."""
    if not isinstance(article_id, int):
        return None
    with database.reading() as session:
        article = session.get(Article, article_id)
        return None if article is None else {name: getattr(article, name) for name in _ARTICLE_FIELDS}


def change_article(session: Session, article_id: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Set fields of an article and raise its version, in the transaction that records it. Raises InvalidRequest.

    What is published for the first time gets its date.
    """
    values = ArticleChanges.model_validate(changes).model_dump(exclude_unset=True)
    if values.get("status") == "published":
        values["published_at"] = func.coalesce(Article.published_at, utc_now())
    raise_version = update(Article).where(Article.id == int(article_id)).values(version=Article.version + 1, **values)
    version = session.scalar(raise_version.returning(Article.version))
    if version is None:
        raise InvalidRequest(f"article_id: there is no article {article_id}")
    return {"article_id": int(article_id), "version": int(version)}
