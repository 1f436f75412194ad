"""One valid payload of each kind of job, to be spoilt field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from tests.support.scale import scaled

AT = "2030-01-01T00:00:00Z"
PAYLOADS: dict[tuple[str, str], dict[str, Any]] = {
    ("ai:content", "generate-draft"): {"topic": "A topic", "language": "fa", "key_points": ["one"], "word_count": 500},
    ("ai:content", "generate-summary"): {"article_id": 1, "sentence_count": 2},
    ("ai:content", "translate"): {"article_id": 1, "language": "en"},
    ("ai:content", "enhance-content"): {"article_id": 1, "goals": ["clarity"]},
    ("ai:seo", "generate-seo"): {"article_id": 1},
    ("ai:review", "review-article"): {"article_id": 1},
    ("workflows:run", "run-workflow"): {"workflow": "publish", "input": {"a": 1}, "version": 1},
    ("plugins:execute", "execute-plugin"): {"plugin": "p", "event": "a.b", "input": {"a": 1}},
    ("analytics:process", "process-events"): {"events": [{"kind": "view"}], "limit": 10},
    ("analytics:snapshot", "snapshot-dashboard"): {"days": 7, "top": 5},
    ("email:send", "send-email"): {
        "to": "a@example.com", "subject": "s", "text": "t {{link}}", "html": "<p>", "language": "en",
        "reply_to": "b@example.com", "unsubscribe_url": "https://example.com/u", "secrets": {"link": "https://x"},
    },
    ("otp:send", "send-otp"): {
        "channel": "mail", "recipient": "a@example.com", "code": "1234", "purpose": "sign-in", "expires_at": AT,
        "language": "en",
    },
    ("webhooks:deliver", "deliver-webhook"): {
        "endpoint_id": 1, "event_id": "e", "event_type": "a.b", "occurred_at": "2026-01-01T00:00:00Z", "data": {"a": 1},
    },
    ("media:optimize", "optimize-image"): {"file_id": 1, "widths": [320], "formats": ["webp"]},
    ("search:index", "index-article"): {"article_id": 1, "version": 1},
}  # fmt: skip
#: Every field of every kind of job.
FIELDS = [(queue, job, field) for (queue, job), data in PAYLOADS.items() for field in data]
#: Fields that take any JSON there is.
FREE = {"input", "events", "data"}


def examples(number: int) -> Callable[..., Any]:
    """So many examples, the same ones in each run at scale 1; servers and engines serve all of a test's examples."""
    return settings(
        max_examples=scaled(number), deadline=None, database=None, derandomize=scaled(1) == 1,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def as_json(value: Any) -> Any:
    """What JSON makes of a value: lists of tuples."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value
