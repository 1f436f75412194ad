"""The secrets of the settings are in no text that is kept or logged, whoever quotes them."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import redis
from pydantic import SecretStr

from teknav_ops.configured_secrets import secrets_of
from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import PermanentError
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.redaction import error_text, mask_everywhere, redact
from teknav_ops.producer import Producer
from teknav_ops.settings import Settings
from tests.support.engine import Engine, dump
from tests.support.topology import Work

SECRET_FIELDS = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


@pytest.fixture
def masked(request: pytest.FixtureRequest) -> Any:
    """Sets what is masked for one test."""
    request.addfinalizer(lambda: mask_everywhere(frozenset()))
    return mask_everywhere


@pytest.mark.parametrize("field", [*SECRET_FIELDS, "redis_url"])
def test_each_secret_setting_is_masked(masked: Any, field: str) -> None:
    url = "scheme://user:p%40ssw0rd-of-it@host:1/name"
    value = url if field.endswith("_url") else f"first-{field},second-{field}"
    settings = Settings.model_construct(**{field: value if field == "redis_url" else SecretStr(value)})
    masked(frozenset(secrets_of(settings)))

    text = redact(f"cannot open {value}: p@ssw0rd-of-it, p%40ssw0rd-of-it, first-{field} or second-{field}")
    if field.endswith("_url"):
        assert "ssw0rd" not in text
    else:
        assert f"t-{field}" not in text and f"d-{field}" not in text


def test_a_secret_with_commas_is_masked_whole(masked: Any) -> None:
    masked(frozenset(secrets_of(Settings.model_construct(ai_api_key=SecretStr("short,parts,only")))))

    assert redact("refused: short,parts,only") == "refused: ••••"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "URL": lambda secret: quote(secret, safe=""),
    "path": lambda secret: quote(secret, safe="/:@&=+"),
    "form": quote_plus,
    "URL in small letters": lambda secret: quote(secret, safe="").replace("%D8%B1", "%d8%b1"),
    "JSON": json.dumps,
    "JSON in its letters": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "JSON of PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "program": repr,
    "bytes": lambda secret: repr(secret.encode()),
    "HTML": escape,
    "HTML in numbers": lambda secret: "".join(f"&#{ord(letter)};" for letter in secret if not letter.isalnum()),
    "Basic": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "mail's PLAIN": lambda secret: base64.b64encode(f"\0u\0{secret}".encode()).decode(),
    "mail's LOGIN": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", ["k-9/Z+t=a&B\"c'é \\x", "رمزِ 1234\n😀", "+989121234567"])
def test_a_known_secret_is_masked_however_it_is_spelled(secret: str, spelling: str) -> None:
    if spelling == "HTML in numbers":
        secret = "+/=+&++"
    spelled = SPELLINGS[spelling](secret)

    masked = redact(f"<{spelled}> is no number that we serve", frozenset({secret}))

    # Of base64, characters that also hold what stands beside the secret stay; and quotation marks around it.
    assert "••••" in masked and len(masked) < len("<user:••••==> is no number that we serve") + 8
    assert all(part not in masked for part in (secret, spelled.strip("\"'b")))


def test_words_that_stand_anywhere_are_no_secrets() -> None:
    assert not set(secrets_of(Settings.model_construct(ai_api_key=SecretStr("none"), redis_url="redis://u:teknav@h/0")))
    assert not set(secrets_of(Settings.model_construct(redis_url="redis://[broken")))


def test_a_job_whose_error_quotes_a_key_leaves_it_nowhere(
    masked: Any,
    engine: Engine,
    producer: Producer,
    queries: JobQueries,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    masked(frozenset({"sk-0123456789"}))

    def be_refused(job: Work, ctx: JobContext[None]) -> None:
        raise PermanentError(f"{'x' * 1_995}sk-0123456789")

    engine.behaviour = be_refused
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    with caplog.at_level(logging.INFO), engine.working():
        engine.broker.join("test:work", timeout=30_000)

    record = queries.get("test:work", job_id)
    assert record.error == f"{'x' * 1_995}••••" and record.attempts[0].error == record.error
    assert "sk-01" not in str(dump(client))


def test_an_error_that_refuses_to_speak_has_a_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "no text could be made" in error_text(Silent()) and error_text(ValueError("\ud800")) == "\\ud800"
