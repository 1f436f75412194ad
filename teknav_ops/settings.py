"""Settings: the only reader of the environment.

Every setting is an environment variable `TEKNAV_<NAME>`; `docs/settings.md` lists them and a
test compares the two.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from teknav_ops.checked_settings import CheckedSettings
from teknav_ops.environment_source import EnvironmentSettings
from teknav_ops.report_settings import ReportSettings
from teknav_ops.web_settings import WebSettings


class Settings(ReportSettings, WebSettings, CheckedSettings, EnvironmentSettings):
    """All settings, validated once. Frozen: a process never changes its mind."""

    model_config = SettingsConfigDict(
        env_prefix="TEKNAV_",
        env_file=None,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = Field(
        "development", description="`production` logs JSON and refuses the embedded defaults for secrets."
    )
    data_dir: Path = Field(
        Path(".teknav"), description="Folder for the embedded Valkey, SQLite, media and the mail outbox."
    )
    redis_url: str | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://host,host/service` or "
        "`redis+cluster://host:port`. Unset: the embedded Valkey.",
    )
    redis_timeout_seconds: float = Field(
        5.0, gt=0, description="How long one Redis call may take before it counts as failed."
    )
    producer_timeout_seconds: float = Field(
        10.0, gt=0, description="How long `enqueue` keeps trying before it raises RedisUnavailable."
    )
    appendfsync: Literal["always", "everysec"] = Field(
        "everysec",
        description="The embedded Valkey's durability: `always` loses nothing on a power cut, and is slower.",
    )
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL. Unset: SQLite in `data_dir`. PostgreSQL: `postgresql+psycopg://…`."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Key that encrypts secret payload fields (44-character Fernet key). Several keys, newest "
        "first, separated by commas, allow rotation. Unset in development: made once in `data_dir`.",
    )
    operator: str | None = Field(
        None,
        description="Name recorded in brackets behind `cli:` and the system's user for what is done on this command "
        "line. Unset: that alone.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    telemetry: bool = Field(
        False,
        description="Emit OpenTelemetry spans and metrics over OTLP (needs the `telemetry` extra; the usual OTEL_* "
        "variables say where to).",
    )
    events_per_second: int = Field(
        20, ge=1, description="Above this, events of one queue and type are told as one, with a count and a sample."
    )
    events_kept: int = Field(
        10_000, ge=100, description="About so many events stay readable, for clients that go on from an id."
    )
    metrics_address: str | None = Field(
        None,
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$",
        description="Where the scheduler serves Prometheus metrics, as host:port (needs the `metrics` extra). Unset: "
        "nowhere, except that `teknav up` serves them on this machine.",
    )
    lease_seconds: float = Field(
        30.0,
        ge=0.2,
        description="How long a job may go without its worker's heartbeat before it is taken back.",
    )
    lost_worker_limit: int = Field(
        3, ge=1, description="After how many worker deaths a job is dead-lettered as WorkerLost."
    )
    stuck_grace_seconds: float = Field(
        60.0, gt=0, description="A job that still runs so long after its time limit is shown as stuck."
    )
    stuck_replace_seconds: float = Field(
        300.0,
        gt=0,
        description="So long after that its worker process gives back its other jobs and starts anew; the stuck one "
        "counts as lost.",
    )
    payload_limit_bytes: int = Field(256 * 1024, ge=1024, description="Largest payload accepted, as JSON.")
    audit_started: bool = Field(False, description="Write a `job.started` entry for each run into the audit trail.")
    audit_retention_days: int = Field(
        400, ge=0, description="Rows of AuditLog older than this are deleted; 0 keeps everything."
    )
    media_dir: Path | None = Field(None, description="Root of stored files. Unset: `data_dir`/media.")
    smtp_url: SecretStr | None = Field(
        None,
        description="`smtp://user:password@host:587` (STARTTLS when offered; no login without it), `smtps://` or "
        "`smtp+plain://` (no TLS). Unset: mails are written into `data_dir`/outbox.",
    )
    ai_base_url: str | None = Field(
        None,
        description="OpenAI-compatible server (OpenAI, vLLM, Ollama …), such as `http://127.0.0.1:11434/v1`. Unset: "
        "summaries and keywords are extracted without a model, and what needs one fails as ProviderNotConfigured.",
    )
    ai_api_key: SecretStr | None = Field(None, description="Key for that server.")
    ai_model: str | None = Field(None, description="Model to ask, as that server names it.")
    ai_streaming: bool = Field(False, description="Read answers as they are written: progress, and no idle timeouts.")
    ai_timeout_seconds: float = Field(120.0, gt=0, description="How long one answer may take.")
    ai_output_token_limit: int = Field(8_000, ge=100, description="Longest answer, in tokens.")
    ai_input_usd_per_million: float | None = Field(
        None, ge=0, description="Price of a million input tokens, for models the price list does not know."
    )
    ai_output_usd_per_million: float | None = Field(None, ge=0, description="The same for output tokens.")
    ai_job_usd_limit: float = Field(0.5, ge=0, description="A job that could cost more stops before the call.")
    ai_daily_usd_limit: float = Field(20.0, ge=0, description="Over this, jobs wait for the next day (UTC).")
    ai_job_token_limit: int = Field(200_000, ge=1, description="Like `ai_job_usd_limit`, in tokens.")
    ai_daily_token_limit: int = Field(5_000_000, ge=1, description="Like `ai_daily_usd_limit`, in tokens.")
    ai_review_pass_score: float = Field(70.0, ge=0, le=100, description="Review score from which an article passes.")
    site_time_zone: str = Field(
        "Asia/Tehran", description="Zone in which the site's days begin; readers' figures are per day."
    )
    analytics_latest_age_days: int = Field(
        400, ge=1, le=3_650, description="Events older than this are set aside; younger ones count on their own day."
    )
    dashboard_snapshot_seconds: int = Field(
        900, ge=10, description="How long a computed dashboard stays in Redis when no newer one replaces it."
    )
    sms_url: str | None = Field(
        None, description="SMS gateway that takes JSON posts. Unset: messages are written into `data_dir`/outbox."
    )
    sms_token: SecretStr | None = Field(None, description="Bearer token for that gateway.")
    sms_sender: str = Field("TekNav", description="Sender shown on text messages.")
    site_host: str = Field("teknav.example", description="Host of the site, named in messages with codes.")
    otp_limit_count: int = Field(5, ge=1, description="Codes one recipient may get within `otp_limit_seconds`.")
    otp_limit_seconds: int = Field(3_600, ge=1, description="See `otp_limit_count`.")
    otp_resend_seconds: int = Field(60, ge=0, description="Least pause between two codes to one recipient.")
    webhook_timeout_seconds: float = Field(15.0, gt=0, description="How long a receiver may take, in all.")
    webhook_disable_hours: float = Field(
        72.0, gt=0, description="An endpoint that took nothing for so long (and ten attempts) is switched off."
    )
    webhook_give_up_hours: float = Field(
        72.0, gt=0, description="Events older than this are given up when their receiver still asks for a pause."
    )
    outbound_allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Private networks that webhooks, plugins and workflow steps may reach all the same, as a JSON "
        'list: `["10.1.0.0/16"]`.',
    )
    mail_from: str = Field(
        "TekNav <noreply@teknav.example>",
        description="Sender of mails: one ASCII address, with a name before it or without.",
    )
    alert_rules: str | None = Field(
        None,
        description="Alert rules as a JSON list, or `@file`; they replace the default ones. `teknav alerts rules` "
        "prints those in force, docs/alerts.md explains them.",
    )
    alert_webhook_url: str | None = Field(None, description="Where alerts are posted to, such as a chat tool's hook.")
    alert_webhook_secret: SecretStr | None = Field(
        None, description="Signs those posts as Standard Webhooks asks (`whsec_…`). Unset: not signed."
    )
    alert_mail_to: tuple[str, ...] = Field(
        (), description='Who gets alerts by mail, as a JSON list: `["oncall@example.com"]`.'
    )
    alert_site_url: str | None = Field(
        None, description="Where the dashboard is reached, for links in alerts. Unset: `web_public_url`."
    )

    snapshot_dir: Path | None = Field(
        None, description="Folder of the DuckDB snapshots, on a local disk. Unset: `data_dir`/snapshots."
    )
    snapshot_seconds: float = Field(
        60.0, ge=1, description="How often the scheduler looks for new rows and publishes a snapshot."
    )
    snapshot_retention_days: int = Field(35, ge=1, description="How many days snapshots reach back.")
    api_token: SecretStr | None = Field(
        None,
        description="Who acts from a notebook: the bearer of this token. Unset: the person at this machine, as on its "
        "command line.",
    )
    report_run: bool = Field(
        False, description="Set by the report runner for its notebooks: nobody watches, so nothing may be changed."
    )
    report_allow_replay: bool = Field(
        False, description="Set by the report runner where a report's settings let it replay dead letters."
    )

    @field_validator("site_time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no time zone {name!r}; use a name such as Asia/Tehran or UTC") from None
        return name

    @property
    def media_root(self) -> Path:
        """Folder that holds originals and variants."""
        return self.media_dir or self.data_dir / "media"

    @property
    def snapshot_root(self) -> Path:
        """Folder of the snapshots."""
        return self.snapshot_dir or self.data_dir / "snapshots"

    @property
    def report_root(self) -> Path:
        """Folder of the published reports."""
        return self.report_dir or self.data_dir / "reports"

    @property
    def sql_url(self) -> str:
        """SQLAlchemy URL of the records; SQLite in the data folder unless set."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'teknav.sqlite3').absolute()}"


@functools.cache
def get_settings() -> Settings:
    """The process's settings, read from the environment once."""
    return Settings()


def use_web_address(address: str) -> Settings:
    """Listen there instead, in this process and its children. For a command line that names an address."""
    os.environ["TEKNAV_WEB_ADDRESS"] = address
    get_settings.cache_clear()
    return get_settings()


def setting_problems(error: ValidationError) -> list[str]:
    """What is wrong with which variable; the values are not repeated."""
    return [": ".join([*_variables(each["loc"]), _reason(each["msg"])]) for each in error.errors()]


def _variables(place: tuple[int | str, ...]) -> list[str]:
    return [f"TEKNAV_{str(name).upper()}" for name in place[:1]]


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
