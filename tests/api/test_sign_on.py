"""Single sign-on, with a real provider on the other side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from teknav_ops.access.policy import Role
from teknav_ops.api.oidc import Provider, ProviderUnavailable
from teknav_ops.cli.context import Context
from teknav_ops.cli.settings_findings import settings_finding
from teknav_ops.settings import Settings
from teknav_ops.storage.tables import AuditLog
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.support.redis_server import RedisServer
from tests.support.web import PLAIN_HTTP, ROOT, Web, api, served, settings_for

START = "/oidc/begin?next=%2Fdashboard%2Fowner%2Fqueues%3Fstate%3Dpaused"


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    running = OidcProvider()
    yield running
    running.close()


@pytest.fixture
def web(provider: OidcProvider, redis_server: RedisServer, tmp_path: Path) -> Iterator[Web]:
    settings = settings_for(
        tmp_path, redis_server.url, oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET), oidc_owners=("Sara@TekNav.example",),
        oidc_owner_claim="groups=sre", oidc_viewer_claim="groups=support",
        oidc_operator_claims={"groups=hooks": ["webhooks:*"], "groups=codes": ["otp:send"], "email=o@x.example": ["*"]},
    )  # fmt: skip
    with served(api(settings)) as running:
        yield running


def to_provider(browser: httpx.Client, start: str = START) -> str:
    """As far as the provider sends the browser back to."""
    begun = browser.get(start)
    assert begun.status_code == 303, begun.text
    back = httpx.get(begun.headers["location"], verify=PLAIN_HTTP)
    assert back.status_code == 302, back.text
    return back.headers["location"]


def through(browser: httpx.Client, start: str = START) -> httpx.Response:
    return browser.get(to_provider(browser, start))


def name_in(web: Web, browser: httpx.Client) -> tuple[str, Role]:
    identity = web.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
    assert identity is not None
    return identity.operator.name, identity.operator.role


def test_an_owner_by_address_comes_in_and_goes_on(web: Web) -> None:
    with web.browser() as browser:
        assert "/oidc/begin" in browser.get("/sign-in").text
        answer = through(browser)

        assert answer.status_code == 303
        assert answer.headers["location"] == "/dashboard/owner/queues?state=paused"
        assert name_in(web, browser) == ("sara@teknav.example", Role.OWNER)
        assert "teknav_sign_on" not in browser.cookies
    with web.services.database.reading() as session:
        row = session.scalars(select(AuditLog)).one()
    assert row.action == "user.signed_in" and row.actor == "sara@teknav.example"
    assert row.detail is not None and row.detail["how"] == "provider"


def test_a_group_makes_an_owner_and_an_unverified_address_makes_no_name(web: Web, provider: OidcProvider) -> None:
    provider.claims = {"sub": "7", "email": "sara@teknav.example", "email_verified": False, "groups": ["x", "sre"]}
    with web.browser() as browser:
        assert through(browser).status_code == 303
        assert name_in(web, browser) == ("oidc:7", Role.OWNER)


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "stranger@teknav.example", "email_verified": True},
        {"email": "sara@teknav.example", "email_verified": False},
        {"email": "sara@teknav.example", "email_verified": "true"},
        {"email": "sara@teknav.example"},
        {"groups": "sresre"},
        {"groups": {"sre": True}},
        {"email": "o@x.example", "email_verified": False},
        # VIEWERs are not let in here.
        {"groups": ["support"]},
    ],
)
def test_who_is_on_no_list_stays_out(web: Web, provider: OidcProvider, claims: dict[str, Any]) -> None:
    provider.claims = {"sub": "9", **claims}
    with web.browser() as browser:
        answer = through(browser)

        assert answer.status_code == 401 and 'role="alert"' in answer.text
        assert "teknav_session" not in browser.cookies
    with web.services.database.reading() as session:
        assert session.scalars(select(AuditLog.action)).all() == ["user.sign_in_refused"]


@pytest.mark.parametrize(
    ("claims", "queues"),
    [
        ({"groups": ["hooks"]}, ("webhooks:*",)),
        ({"groups": ["codes", "hooks", "support"]}, ("otp:send", "webhooks:*")),
        ({"groups": ["codes"], "email": "o@x.example", "email_verified": True}, ("*",)),
    ],
)
def test_claims_make_an_operator_of_the_queues_they_are_given(
    web: Web, provider: OidcProvider, claims: dict[str, Any], queues: tuple[str, ...]
) -> None:
    provider.claims = {"sub": "9", **claims}
    with web.browser() as browser:
        assert through(browser).status_code == 303
        identity = web.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
        assert identity is not None
        assert (identity.operator.role, identity.operator.queues) == (Role.OPERATOR, queues)


def test_a_local_user_who_was_disabled_does_not_come_in_by_the_other_door(web: Web) -> None:
    web.add_user("ali")
    web.add_user("sara@teknav.example")
    web.services.entrance.users.disable(ROOT, "sara@teknav.example")
    with web.browser() as browser:
        assert through(browser).status_code == 401


def test_nobody_comes_in_under_the_name_of_a_local_user(web: Web) -> None:
    """One name is one person: in the audit trail, and among the sessions that end together."""
    with web.browser() as browser:
        assert through(browser).status_code == 303
        # Whoever was in under the name is put out when a local user gets it.
        web.add_user("SARA@teknav.example")
        assert browser.get("/api/owner/queues").status_code == 401
        assert through(browser).status_code == 401
    with web.services.database.reading() as session:
        refusal = session.scalars(select(AuditLog).where(AuditLog.action == "user.sign_in_refused")).one()
    assert refusal.detail is not None and refusal.detail["why"] == "a local user has this name"


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"keys": None},
        {"keys": []},
        {"keys": "x"},
        {"keys": [5]},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [{"kty": "?"}]},
    ],
)
def test_a_provider_without_keys_that_sign_is_none(web: Web, provider: OidcProvider, listed: dict[str, Any]) -> None:
    provider.listed_keys = listed
    with web.browser() as browser:
        answer = through(browser)

        assert answer.status_code == 502 and "does not answer" not in answer.text and "names no key" in answer.text


def test_keys_of_other_kinds_may_stand_beside_the_provider_s(web: Web, provider: OidcProvider) -> None:
    own = provider.key.as_dict(private=False)
    provider.listed_keys = {"keys": [{"kty": "oct", "k": "AAAA", "kid": own["kid"]}, {"kty": "?"}, own]}
    with web.browser() as browser:
        assert through(browser).status_code == 303


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_a_provider_that_names_an_address_in_clear_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    issuer = "https://id.example"
    settings = Settings(data_dir=tmp_path, oidc_issuer=issuer, oidc_client_id="x", oidc_owners=("a@b.c",))
    described = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), f"{issuer}/x")
    monkeypatch.setattr(Provider, "_get", lambda *_: described | {"issuer": issuer, name: "http://id.example/x"})

    with pytest.raises(ProviderUnavailable, match=f"not https: {name}"):
        Provider(settings, None).begin("https://ops.example/oidc/callback", "")  # type: ignore[arg-type]


def test_a_sign_on_can_be_ended_by_name(web: Web) -> None:
    with web.browser() as browser:
        through(browser)
        assert web.services.entrance.signed_in.end_all(ROOT, "sara@teknav.example") == 1
        assert browser.get("/api/owner/queues").status_code == 401


def test_a_callback_of_another_browser_is_refused(web: Web) -> None:
    """Else an attacker could sign somebody in as the attacker."""
    with web.browser() as attacker, web.browser() as victim:
        link = to_provider(attacker)
        assert victim.get(link).status_code == 401
        # And it is used up by the attempt.
        assert attacker.get(link).status_code == 401

        mixed = to_provider(attacker)
        to_provider(victim)
        assert victim.get(mixed).status_code == 401


def test_a_callback_counts_once(web: Web, provider: OidcProvider) -> None:
    with web.browser() as browser:
        link = to_provider(browser)
        assert browser.get(link).status_code == 303
        assert browser.get(link).status_code == 401
    assert provider.token_requests == 1


@pytest.mark.parametrize("query", ["", "?state=x&code=y", "?error=access_denied&state=x", "?code=" + "y" * 5_000])
def test_a_callback_out_of_nowhere_is_refused(web: Web, provider: OidcProvider, query: str) -> None:
    with web.browser() as browser:
        assert browser.get(f"/oidc/callback{query}").status_code == 401
    assert provider.token_requests == 0


def test_who_says_no_at_the_provider_is_told_so(web: Web) -> None:
    with web.browser() as browser:
        state = httpx.URL(to_provider(browser)).params["state"]
        answer = browser.get("/oidc/callback", params={"state": state, "error": "access_denied<script>"})
    assert answer.status_code == 401 and "access_denied&lt;script&gt;" in answer.text


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another"]},
        {"iss": "https://another.example"},
        {"exp": 1_000},
        {"exp": None},
        {"iat": None},
        {"sub": None},
    ],
)
def test_a_token_that_is_not_for_this_sign_on_is_refused(
    web: Web, provider: OidcProvider, spoil: dict[str, Any]
) -> None:
    provider.spoil = spoil
    with web.browser() as browser:
        assert through(browser).status_code == 401
        assert "teknav_session" not in browser.cookies


@pytest.mark.parametrize("forge", ["hmac", "none", "other key", "nonsense"])
def test_a_token_that_the_provider_did_not_sign_is_refused(web: Web, provider: OidcProvider, forge: str) -> None:
    provider.forge = forge
    with web.browser() as browser:
        assert through(browser).status_code == 401


def test_the_provider_may_change_its_keys(web: Web, provider: OidcProvider) -> None:
    with web.browser() as browser:
        assert through(browser).status_code == 303
        provider.change_key()
        assert through(browser).status_code == 303


def test_a_code_of_another_issuer_is_not_taken_back(web: Web, provider: OidcProvider) -> None:
    with web.browser() as browser:
        link = httpx.URL(to_provider(browser))
        assert browser.get(str(link.copy_set_param("iss", "https://evil.example"))).status_code == 401
    assert provider.token_requests == 0


def test_a_provider_that_is_away_is_said_to_be(web: Web, provider: OidcProvider) -> None:
    provider.is_away = True
    with web.browser() as browser:
        answer = browser.get(START)
        assert answer.status_code == 502 and "does not answer" in answer.text
        provider.is_away = False
        assert through(browser).status_code == 303


def test_a_provider_that_calls_itself_otherwise_is_not_believed(
    provider: OidcProvider, redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = settings_for(
        tmp_path, redis_server.url, oidc_issuer=f"{provider.issuer}/", oidc_client_id=CLIENT_ID, oidc_owners=("a@b.c",)
    )
    with served(api(settings)) as running, running.browser() as browser:
        assert browser.get(START).status_code == 502


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"oidc_issuer": "https://id.example", "oidc_owners": ("a@b.c",)}, "OIDC_CLIENT_ID"),
        ({"oidc_issuer": "https://id.example", "oidc_client_id": "x"}, "lets nobody in"),
        ({"oidc_issuer": "id.example"}, "oidc_issuer"),
        ({"oidc_issuer": "http://id.example", "oidc_client_id": "x", "oidc_owners": ("a@b.c",)}, "oidc_issuer"),
        (
            {"oidc_issuer": "http://localhost.id.example", "oidc_client_id": "x", "oidc_owners": ("a@b.c",)},
            "oidc_issuer",
        ),
        (
            {"oidc_issuer": "http://127.0.0.1@id.example", "oidc_client_id": "x", "oidc_owners": ("a@b.c",)},
            "oidc_issuer",
        ),
        ({"oidc_owner_claim": "sre"}, "oidc_owner_claim"),
        ({"oidc_operator_claims": {"sre": ["*"]}}, "'sre' is no claim with a value"),
        ({"oidc_operator_claims": {"groups=sre": []}}, "'groups=sre' needs queues or patterns"),
        ({"oidc_operator_claims": {"groups=sre": ["a b"]}}, "'groups=sre' needs queues or patterns"),
        ({"web_public_url": "https://ops.example?a=b"}, "web_public_url"),
        ({"web_public_url": "https://ops.example/a b"}, "web_public_url"),
        ({"web_public_url": "https://ops.example/a/../b"}, "letters, digits"),
        ({"web_public_url": "https://ops.example//b"}, "letters, digits"),
        ({"web_public_url": "https://ops.example/a;b"}, "letters, digits"),
        ({"web_public_url": "https://ops.example/api/x"}, "must not begin with /api"),
        ({"web_address": "8800"}, "web_address"),
    ],
)
def test_half_a_setting_is_refused_at_the_start(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**changes)


def test_a_pattern_that_fits_no_queue_is_named_by_the_doctor(tmp_path: Path) -> None:
    claims = {"groups=hooks": ["webhooks:*", "webhook:*"], "groups=all": ["*"], "groups=codes": ["otp:sent"]}
    found = settings_finding(Context(Settings(data_dir=tmp_path, oidc_operator_claims=claims)))

    assert not found.is_well
    assert found.seen == (
        "TEKNAV_OIDC_OPERATOR_CLAIMS: 'webhook:*' of 'groups=hooks' names no queue; "
        "TEKNAV_OIDC_OPERATOR_CLAIMS: 'otp:sent' of 'groups=codes' names no queue"
    )
    assert "otp:send" in found.remedy
    claims = {"groups=hooks": ["webhooks:*"]}
    assert settings_finding(Context(Settings(data_dir=tmp_path, oidc_operator_claims=claims))).is_well


def test_without_a_provider_there_is_no_such_door(redis_server: RedisServer, tmp_path: Path) -> None:
    with served(api(settings_for(tmp_path, redis_server.url))) as running, running.browser() as browser:
        assert browser.get("/oidc/begin").status_code == 404
        assert "/oidc/" not in browser.get("/sign-in").text


def confirmed(web: Web, browser: httpx.Client) -> bool:
    """Whether this browser's session is fresh."""
    identity = web.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
    assert identity is not None
    return not identity.operator.proof_wanted_minutes


def test_a_session_is_fresh_only_when_the_provider_has_asked_the_person_themselves(
    web: Web, provider: OidcProvider
) -> None:
    again = "/oidc/begin?again=1&next=%2Fdashboard%2Fowner%2Fworkers"
    with web.browser() as browser:
        through(browser)
        cookie = browser.cookies["teknav_session"]
        assert not confirmed(web, browser), "it only remembered the browser"
        begun = browser.get(again).headers["location"]
        assert "max_age=0" in begun and "prompt=login" in begun

        # A provider that does not do as it is told confirms nothing.
        for auth_time in (None, int(time.time()) - 3_600):
            provider.claims["auth_time"] = auth_time
            refused = through(browser, again)
            assert refused.status_code == 401 and "nothing is confirmed" in refused.text
        provider.claims |= {"auth_time": int(time.time()), "email": "olga@teknav.example", "groups": ["sre"]}
        assert through(browser, again).status_code == 401
        assert not confirmed(web, browser)

        provider.claims |= {"email": "sara@teknav.example"}
        back = through(browser, again)

        assert (back.status_code, back.headers["location"]) == (303, "/dashboard/owner/workers")
        assert confirmed(web, browser) and browser.cookies["teknav_session"] == cookie
    with web.browser() as other:
        through(other)
        assert confirmed(web, other), "the provider asked just now"
