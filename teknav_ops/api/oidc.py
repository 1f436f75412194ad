"""Single sign-on: the authorization code flow of OpenID Connect, with PKCE, state and nonce."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from teknav_ops.access.sign_on_roles import Person, person_of
from teknav_ops.errors import NotAllowed, TransientError
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.settings import Settings

log = structlog.get_logger("teknav.api")

#: Signatures that need the provider's private key. HMAC and `none` are not among them.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_KEY_TYPES: Final = ("RSA", "EC", "OKP")
_TIMEOUT_SECONDS: Final = 10
#: What a provider says of itself that is used here.
_ADDRESSES: Final = frozenset({"authorization_endpoint", "token_endpoint", "jwks_uri"})
_FLOW_MS: Final = 600_000
_DISCOVERY_SECONDS: Final = 600.0
_LEEWAY_SECONDS: Final = 60


class ProviderUnavailable(TransientError):
    """The OpenID provider does not answer, or not as one."""


class SignOnFailed(NotAllowed):
    """What came back from the provider does not prove who somebody is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and the secret it must bring back in a cookie."""

    url: str
    browser_secret: str


@dataclasses.dataclass(frozen=True, slots=True)
class Back:
    """Who came back, and where they were going. `is_asked`: the provider asked them just now, and did not only
    remember their browser; `is_again`: it was told to.
    """

    person: Person
    next: str
    is_again: bool
    is_asked: bool


class Provider:
    """The provider that the settings name. Thread-safe."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._issuer = str(settings.oidc_issuer)
        self._discovered: tuple[float, dict[str, Any]] | None = None
        self._keys: KeySet | None = None

    def begin(self, redirect_uri: str, next: str, *, again: bool = False) -> Begun:
        """Begin a flow; `again`: not by what the provider remembers of this browser. Raises ProviderUnavailable."""
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        # With max_age the provider must say when it last asked the person, which `finish` checks.
        anew = {"max_age": "0", "prompt": "login"} if again else {}
        url, _ = self._session(redirect_uri).create_authorization_url(
            self._discover()["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier, **anew
        )
        flow = {"nonce": nonce, "verifier": verifier, "browser": _hash(browser), "next": next}
        flow |= {"begun_at": str(int(time.time())), "again": "1" if again else ""}
        call = scripts.put_text(keys.sign_on_state(_hash(state)), text=json.dumps(flow), ttl_ms=_FLOW_MS)
        ScriptRunner(self._client).run(call)
        return Begun(str(url), browser)

    def finish(self, answer: Mapping[str, str], redirect_uri: str, browser_secret: str) -> Back:
        """Take somebody back. Each flow ends once.

        Raises:
            SignOnFailed: state, browser, code or token do not fit, or this person may not enter. ProviderUnavailable.
        """
        kept = self._client.execute_command("GETDEL", keys.sign_on_state(_hash(answer.get("state", ""))))
        flow = json.loads(kept) if kept else {}
        # The cookie ties the flow to the browser that began it: nobody can be signed in as somebody else.
        if not flow or not secrets.compare_digest(flow["browser"], _hash(browser_secret)):
            raise SignOnFailed("This sign-on was not begun in this browser, or too long ago. Try again.")
        if answer.get("error") or not answer.get("code"):
            raise SignOnFailed(f"The provider said no: {answer.get('error', 'it sent no code')[:100]}")
        if answer.get("iss", self._issuer) != self._issuer:
            raise SignOnFailed("The answer comes from another provider.")
        claims = self._claims(answer["code"], flow, redirect_uri)
        is_asked, is_again = _was_asked_since(int(flow["begun_at"]), claims), bool(flow["again"])
        if is_again and not is_asked:
            raise SignOnFailed("The provider did not ask you to sign in once more, so nothing is confirmed.")
        person = person_of(claims, self._settings)
        if person is None:
            raise SignOnFailed("The provider knows you, but you are not on the list of those who may enter here.")
        return Back(person, str(flow["next"]), is_again, is_asked)

    def _claims(self, code: str, flow: Mapping[str, str], redirect_uri: str) -> dict[str, Any]:
        session = self._session(redirect_uri)
        try:
            token = session.fetch_token(self._discover()["token_endpoint"], code=code, code_verifier=flow["verifier"])
        except Exception as error:
            log.warning("the provider did not take the code", error=f"{type(error).__name__}: {error}")
            raise SignOnFailed("The provider did not take the code back. Try again.") from None
        try:
            return self._verified(str(token.get("id_token", "")), flow["nonce"])
        except JoseError as error:
            log.warning("the provider's token was refused", error=f"{type(error).__name__}: {error}")
            raise SignOnFailed("The provider's token could not be verified.") from None

    def _verified(self, id_token: str, nonce: str) -> dict[str, Any]:
        try:
            token = jwt.decode(id_token, self._key_set(), algorithms=list(_ALGORITHMS))
        except (InvalidKeyIdError, ValueError):
            # The provider has changed its keys, or this is no token at all.
            self._keys = None
            token = jwt.decode(id_token, self._key_set(), algorithms=list(_ALGORITHMS))
        required = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": str(self._settings.oidc_client_id)},
            exp={"essential": True}, iat={"essential": True}, sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )  # fmt: skip
        claims = dict(token.claims)
        required.validate(claims)
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audiences) > 1 and claims.get("azp") != self._settings.oidc_client_id:
            raise SignOnFailed("The provider's token is for another client.")
        return claims

    # The provider's own words --------------------------------------------------------------------

    def _session(self, redirect_uri: str) -> Any:
        secret = self._settings.oidc_client_secret
        session: Any = OAuth2Session(
            self._settings.oidc_client_id, secret.get_secret_value() if secret else None,
            scope="openid email profile", redirect_uri=redirect_uri, code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none", default_timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
        # Neither a proxy nor a password of this machine's environment is meant for it.
        session.trust_env = False
        return session

    def _discover(self) -> dict[str, Any]:
        if self._discovered is None or time.monotonic() - self._discovered[0] > _DISCOVERY_SECONDS:
            found = self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            missing = _ADDRESSES - set(found)
            if found.get("issuer") != self._issuer or missing:
                raise ProviderUnavailable(
                    f"{self._issuer} does not describe itself as the issuer set in TEKNAV_OIDC_ISSUER"
                )
            wrong = [name for name in sorted(_ADDRESSES) if not self._is_safe(str(found[name]))]
            if wrong:
                raise ProviderUnavailable(f"{self._issuer} names an address that is not https: {wrong[0]}")
            self._discovered = (time.monotonic(), found)
        return self._discovered[1]

    def _is_safe(self, url: str) -> bool:
        # A provider on this machine, as its issuer is, may be spoken to in clear.
        return url.startswith("https://") or (self._issuer.startswith("http://") and url.startswith("http://"))

    def _key_set(self) -> KeySet:
        if self._keys is None:
            found = self._get(self._discover()["jwks_uri"])
            listed = found.get("keys")
            # Keys of other kinds, which prove nothing here, may stand beside those that sign.
            signing = [key for key in listed if _may_sign(key)] if isinstance(listed, list) else []
            if not signing:
                raise ProviderUnavailable(f"{self._issuer} names no key that signs its tokens")
            self._keys = KeySet.import_key_set({"keys": signing})
        return self._keys

    def _get(self, url: str) -> dict[str, Any]:
        try:
            answer = self._session("").get(url, withhold_token=True)
            answer.raise_for_status()
            return dict(answer.json())
        except Exception as error:
            log.warning("the OpenID provider does not answer", url=url, error=f"{type(error).__name__}: {error}")
            raise ProviderUnavailable("The single sign-on provider does not answer. Try again.") from None


def _may_sign(key: Any) -> bool:
    return isinstance(key, dict) and key.get("kty") in _KEY_TYPES


def _was_asked_since(moment: int, claims: Mapping[str, Any]) -> bool:
    """Whether the provider asked the person themselves since then, within what clocks may differ."""
    asked_at = claims.get("auth_time")
    return isinstance(asked_at, int | float) and asked_at >= moment - _LEEWAY_SECONDS


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
