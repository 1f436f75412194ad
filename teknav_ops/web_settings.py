"""Settings of the dashboard and the API, and of who may enter. A part of `settings.Settings`, which reads them."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from teknav_ops.path_prefix import prefix_of
from teknav_ops.queue_patterns import is_pattern


class WebSettings(BaseSettings):
    """Where the web process listens, whom it lets in, and for how long."""

    web_address: str = Field(
        "127.0.0.1:8800",
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$",
        description="Where `teknav serve` listens, as host:port.",
    )
    web_public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="How browsers reach it when a proxy stands in front, such as `https://ops.example` or "
        "`https://ops.example/teknav`: used in links and for single sign-on. With a path, everything is served below "
        "it.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Host names it answers to besides this machine's own, `web_address` and `web_public_url`, "
        "as a JSON list.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as a JSON list.",
    )
    request_limit_bytes: int = Field(2 * 1024 * 1024, ge=64 * 1024, description="Largest request body accepted.")
    viewers_allowed: bool = Field(
        False, description="Let VIEWERs in, who read with payloads masked. Off: only OWNERs and OPERATORs may enter."
    )
    session_idle_minutes: int = Field(
        480, ge=5, description="A session ends after so long without a click; 480 is a shift."
    )
    session_hours: int = Field(168, ge=1, le=2_160, description="A session ends after so long whatever is done in it.")
    fresh_sign_in_minutes: int = Field(
        10,
        ge=1,
        le=1_440,
        description="Purging, deleting in batches, replaying more than 100 jobs, and changing users or tokens need a "
        "session that proved within so many minutes whose it is.",
    )
    owners_need_second_factor: bool = Field(
        False,
        description="OWNERs who sign in by password or link need a code of an authenticator app, and set one up at "
        "their next sign-in.",
    )
    oidc_issuer: str | None = Field(
        None,
        pattern=r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])([:/]|$))",
        description="Issuer of the OpenID provider for single sign-on, by https (http for one on this machine). Unset: "
        "passwords only.",
    )
    oidc_client_id: str | None = Field(None, description="This client's id at that provider.")
    oidc_client_secret: SecretStr | None = Field(None, description="This client's secret at that provider.")
    oidc_owners: tuple[str, ...] = Field(
        (), description="Verified addresses of those who enter as OWNER through the provider, as a JSON list."
    )
    oidc_owner_claim: str | None = Field(
        None,
        pattern=r"^[^=\s]+=.+$",
        description="Claim that makes an OWNER, such as `groups=sre`. Others are VIEWERs, where those are let in by "
        "`oidc_viewer_claim`.",
    )
    oidc_operator_claims: dict[str, tuple[str, ...]] = Field(
        {},
        description="Claims that make an OPERATOR, each with the queues that it is for, as a JSON object: "
        '`{"groups=oncall": ["*"], "groups=webhooks": ["webhooks:*"]}`. Who has several is let on all of their queues.',
    )
    oidc_viewer_claim: str | None = Field(
        None, pattern=r"^[^=\s]+=.+$", description="Claim that makes a VIEWER, such as `groups=support`."
    )

    @model_validator(mode="after")
    def _sign_on_is_whole(self) -> Self:
        if self.oidc_issuer is not None and self.oidc_client_id is None:
            raise ValueError("oidc_issuer needs oidc_client_id: TEKNAV_OIDC_CLIENT_ID")
        let_in = (self.oidc_owners, self.oidc_owner_claim, self.oidc_operator_claims, self.oidc_viewer_claim)
        if self.oidc_issuer is not None and not any(let_in):
            raise ValueError(
                "oidc_issuer lets nobody in without oidc_owners, oidc_owner_claim, oidc_operator_claims or "
                "oidc_viewer_claim"
            )
        return self

    @field_validator("oidc_operator_claims")
    @classmethod
    def _operator_claims_are_whole(cls, claims: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for claim, patterns in claims.items():
            if not re.fullmatch(r"[^=\s]+=.+", claim):
                raise ValueError(f"oidc_operator_claims: {claim!r} is no claim with a value, such as groups=oncall")
            if not patterns or any(not is_pattern(pattern) for pattern in patterns):
                raise ValueError(f"oidc_operator_claims: {claim!r} needs queues or patterns, such as webhooks:*")
        return claims

    @property
    def path_prefix(self) -> str:
        """The path below which browsers find everything; empty where the host is ours alone."""
        return prefix_of(self.web_public_url)

    @property
    def web_url(self) -> str:
        """Where browsers find the dashboard, as far as this process can know."""
        return self.web_public_url or f"http://{self.web_address}"
