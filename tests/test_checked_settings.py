"""Settings are refused by name where they could not be used: numbers, lines, URLs, hosts, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr, ValidationError

from teknav_ops.alerts.rules import rules_of
from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.schedules import written_schedules
from teknav_ops.settings import Settings

LAID_OUT = {"alert_rules", "report_schedules"}


def fields_of(*kinds: type) -> list[str]:
    return [
        name
        for name, field in Settings.model_fields.items()
        if any(kind is field.annotation or kind in get_args(field.annotation) for kind in kinds)
    ]


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    assert {str(error["loc"][0]) for error in caught.value.errors()} == set(values)
    return str(caught.value)


@pytest.mark.parametrize("name", fields_of(float))
def test_no_number_is_endless_or_none(name: str) -> None:
    for value in ("inf", "-inf", "nan", "1e999"):
        refused(**{name: value})


@pytest.mark.parametrize("name", fields_of(int, float))
def test_no_number_is_larger_than_what_is_counted_with(name: str) -> None:
    refused(**{name: 10**16})
    if name.endswith("timeout_seconds"):
        # Sockets wait for 24 days at most.
        refused(**{name: 86_401})


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"TEKNAV_{name.upper()}", "")

    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize("name", sorted({*fields_of(str, SecretStr)} - LAID_OUT))
def test_every_text_is_one_line_and_is_not_repeated(name: str) -> None:
    for sign in "\n\x00\x0b\x1b\x85\u2028\u2029":
        assert "hunter2" not in refused(**{name: f"hunter2{sign}x"})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("sms_url", "sms.example/send", "must begin with https://"),
        ("sms_url", "https://user:hunter2@sms.example", "must not carry a login"),
        ("alert_webhook_url", "https://a..example/hook", "no name that DNS knows"),
        ("ai_base_url", "ftp://ai.example", "must begin with https://"),
        ("oidc_issuer", "https://☃.example", "IDNA"),
        ("alert_site_url", "ops.example", "must begin with https://"),
        ("web_public_url", "https://☃.example", "IDNA"),
        ("site_host", "tek nav", "no name that DNS knows"),
        ("site_host", "", "no name that DNS knows"),
        ("allowed_hosts", ("☃.example",), "IDNA"),
        ("ai_api_key", "کلید", "ASCII"),
        ("sms_token", "caf\u00e9", "ASCII"),
        ("redis_url", "foo", "scheme must be one of redis"),
        ("redis_url", "redis://host:99999", "Port"),
        ("redis_url", "redis:///0", "must name a host"),
        ("smtp_url", "imap://mail.example", "scheme must be one of smtp"),
        ("smtp_url", "smtp://mail.example:abc", "Port"),
        ("smtp_url", "smtp://user:%D8%B3@mail.example", "ASCII"),
        ("smtp_url", "smtp://", "must name a host"),
        ("smtp_url", "smtp://mail example", "no name that DNS knows"),
        ("smtp_url", "smtps://mail.example/inbox", "must end behind the host"),
        ("redis_url", "redis://host/abc", "number of a database"),
        ("redis_url", "rediss://host/-1", "number of a database"),
        ("redis_url", "redis://host?socket_timeout=soon", "socket_timeout"),
        ("redis_url", "unix:///run/v.sock?db=abc", "db"),
        ("redis_url", "redis://:hunter2@host?nosuch=1", "nosuch"),
        ("redis_url", "redis://host?protocol=9", "protocol must be"),
        ("redis_url", "rediss://host?ssl_cert_reqs=some", "Requirements Flag: some"),
        ("redis_url", "redis://host?cache_config=x", "no URL can give: cache_config"),
        ("redis_url", "redis://host?retry=x", "retry"),
        ("redis_url", "redis://host?credential_provider=x", "credential_provider"),
        ("redis_url", "unix:///run/v.sock?redis_connect_func=x", "redis_connect_func"),
        ("redis_url", "redis+cluster://a:6379?ssl=true", "take no options"),
        ("redis_url", "redis+sentinel://a:26379/main?protocol=2", "take no options"),
        ("redis_url", "redis://my host", "no name that DNS knows"),
        ("redis_url", "redis+sentinel://a:26379,b:26379", "must name what the Sentinels watch"),
        ("redis_url", "redis+sentinel://a,b/main/x", "number of a database"),
        ("redis_url", "redis+sentinel://a:26379,b:99999/main", "Port"),
        ("redis_url", "redis+cluster://a:6379/1", "a Cluster has no databases"),
        ("database_url", "foo", "SQLAlchemy URL"),
        ("database_url", "postgres://u:hunter2@h/db", "SQLAlchemy URL"),
        ("database_url", "postgresql+nosuch://u:hunter2@h/db", "SQLAlchemy URL"),
        ("database_url", "postgresql+psycopg://u:hunter2@h:abc/db", "SQLAlchemy URL"),
        ("database_url", "postgresql+psycopg://u:hunter2@h:99999/db", "Port"),
        ("database_url", "postgresql+psycopg://u:hunter2@h/db?sslmode=bogus", "sslmode"),
        ("database_url", "postgresql+psycopg://u:hunter2@h/db?nosuch=1", "nosuch"),
        ("database_url", "postgresql+psycopg://u:hunter2@h/db?connect_timeout=soon", "connect_timeout"),
        ("database_url", "sqlite:////tmp/x.sqlite3?timeout=soon", "timeout"),
        ("database_url", "sqlite:////tmp/x.sqlite3?nosuch=1", "nosuch"),
        ("metrics_address", "localhost:99999", "Port"),
        ("web_address", "[::1]:65536", "Port"),
        ("site_host", "teknav.example:abc", "Port"),
        ("ai_base_url", "https://ai.example/v1?key=hunter2", "must end with a path"),
        ("api_token", "caf\u00e9", "ASCII"),
        ("site_time_zone", "Asia", "no time zone"),
        ("mail_from", "a@-b-.example", "one ASCII address"),
        ("mail_from", "Ops <ops@exa mple.com>", "one ASCII address"),
        ("mail_from", "o ps@example.com", "one ASCII address"),
        ("mail_from", "x" * 65 + "@b.example", "one ASCII address"),
        ("mail_from", "x" * 2_000 + " <a@b.example>", "one ASCII address"),
        ("alert_mail_to", ("nobody",), "'nobody': "),
        ("alert_mail_to", ("a@example.com", "سارا@example.com"), "Internationalized"),
        ("alert_webhook_secret", "whsec_hunter2!", "must be base64 after `whsec_`"),
        ("report_webhook_secret", "whsec_", "must be base64 after `whsec_`"),
    ],
)
def test_what_could_not_be_used_is_refused(name: str, value: Any, problem: str) -> None:
    words = refused(**{name: value})
    assert problem in words and "hunter2" not in words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sms_url", "https://پیامک.ایران/send"),
        ("site_host", "نمونه.ایران"),
        ("site_host", "localhost:8000"),
        ("redis_url", "unix:///run/valkey.sock"),
        ("redis_url", "redis+sentinel://a:26379,b:26379/main"),
        ("redis_url", "redis+cluster://:p%20w@a:6379"),
        ("redis_url", "rediss://u:p@[::1]:6380/2"),
        ("smtp_url", "smtp+plain://mail.example:25"),
        ("database_url", "sqlite:////tmp/x.sqlite3"),
        ("alert_mail_to", ("oncall@example.com",)),
        ("alert_webhook_secret", "whsec_aHVudGVyMg=="),
        ("report_webhook_secret", "aHVudGVyMg"),
    ],
)
def test_what_can_be_used_is_kept_as_it_is(name: str, value: Any) -> None:
    kept = getattr(Settings(**{name: value}), name)
    assert (kept.get_secret_value() if isinstance(kept, SecretStr) else kept) == value


def test_names_that_browsers_send_are_kept_in_ascii() -> None:
    settings = Settings(web_public_url="https://پنل.ایران", allowed_hosts=("پنل.ایران", "ops.example"))
    assert settings.web_public_url == f"https://{settings.allowed_hosts[0]}"
    assert settings.allowed_hosts == ("xn--ghbd1o.xn--mgba3a4f16a", "ops.example")


def test_addresses_of_mails_are_kept_as_mail_servers_take_them() -> None:
    settings = Settings(alert_mail_to=("oncall@نمونه.ایران",))
    assert settings.alert_mail_to == ("oncall@xn--hhbbbed.xn--mgba3a4f16a",)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_lists_in_settings_hold_numbers_that_json_knows(number: str) -> None:
    rule = json.dumps([{"kind": "oldest_waiting_age", "limit_seconds": "NUMBER"}]).replace('"NUMBER"', number)
    with pytest.raises(InvalidRequest, match=r"^alert_rules: "):
        rules_of(Settings(alert_rules=rule))
    schedule = json.dumps([{"name": "queue_health", "params": {"hours": "NUMBER"}}]).replace('"NUMBER"', number)
    with pytest.raises(InvalidRequest, match=r"^report_schedules: "):
        written_schedules(Settings(report_schedules=schedule))


@pytest.mark.parametrize("content", [None, b'[{"kind": "\xff"}]', b"\xff\xfe["])
def test_a_list_in_a_file_that_cannot_be_read_is_refused_by_its_setting(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "list.json"
    _ = path.mkdir() if content is None else path.write_bytes(content)
    problem = "Is a directory" if content is None else "is not UTF-8"
    with pytest.raises(InvalidRequest, match=f"^alert_rules: {path}: {problem}"):
        rules_of(Settings(alert_rules=f"@{path}"))
    with pytest.raises(InvalidRequest, match=f"^report_schedules: {path}: {problem}"):
        written_schedules(Settings(report_schedules=f"@{path}"))


def test_a_list_in_a_file_may_begin_with_a_byte_order_mark_and_has_no_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"name": "queue_health", "cron": "0 6 * * *"}]', "utf-8-sig")
    assert [written.name for written in written_schedules(Settings(report_schedules=f"@{path}"))] == ["queue_health"]

    path.write_text('[{"name": "queue_health", "cron": "0 6 * * *", "cron": "0 7 * * *"}]')
    with pytest.raises(InvalidRequest, match=r"^report_schedules: has the key .cron. twice"):
        written_schedules(Settings(report_schedules=f"@{path}"))


@pytest.mark.parametrize(
    ("url", "kept", "prefix"),
    [
        ("https://ops.example/", "https://ops.example", ""),
        ("https://ops.example/teknav/", "https://ops.example/teknav", "/teknav"),
        ("http://127.0.0.1:8800/a/b.c", "http://127.0.0.1:8800/a/b.c", "/a/b.c"),
    ],
)
def test_the_path_of_the_public_url_is_where_everything_is_served(url: str, kept: str, prefix: str) -> None:
    settings = Settings(web_public_url=url)
    assert (settings.web_public_url, settings.web_url, settings.path_prefix) == (kept, kept, prefix)
