"""A small OpenID provider over HTTP: discovery, authorization, token and keys, strict about what a client must send."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.support.ports import free_port

CLIENT_ID, CLIENT_SECRET = "teknav-ops", "the client's secret"


@functools.cache
def _first_key() -> RSAKey:
    """Made once per process: it costs more than a whole sign-on."""
    return RSAKey.generate_key(2048, {"kid": "one"})


class OidcProvider:
    """`claims` is who signs in next; `spoil` changes a token before it is signed; `forge` signs it in another way."""

    def __init__(self) -> None:
        self.key = _first_key()
        self.claims: dict[str, Any] = {"sub": "42", "email": "sara@teknav.example", "email_verified": True}
        self.spoil: dict[str, Any] = {}
        self.forge: str | None = None
        self.is_away = False
        #: What it lists in place of its key.
        self.listed_keys: dict[str, Any] | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.token_requests = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realm"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def change_key(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        path, query = urlsplit(request.path).path, dict(parse_qsl(urlsplit(request.path).query))
        if self.is_away:
            _answer(request, 503, {"error": "away"})
        elif path == "/realm/.well-known/openid-configuration":
            ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token")}
            _answer(request, 200, {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **ends})
        elif path == "/realm/keys":
            own = {**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}
            _answer(request, 200, {"keys": [own]} if self.listed_keys is None else self.listed_keys)
        elif path == "/realm/authorization":
            self._authorize(request, query)
        else:
            _answer(request, 404, {})

    def _authorize(self, request: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        wrong = [
            name
            for name, wanted in {
                "client_id": CLIENT_ID,
                "response_type": "code",
                "code_challenge_method": "S256",
            }.items()
            if query.get(name) != wanted
        ]
        wrong += [name for name in ("state", "nonce", "code_challenge", "redirect_uri") if not query.get(name)]
        if wrong or "openid" not in query.get("scope", "").split():
            _answer(request, 400, {"error": "invalid_request", "wrong": wrong})
            return
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        request.send_response(302)
        request.send_header("Location", f"{query['redirect_uri']}?{urlencode(back)}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        self.token_requests += 1
        form = dict(parse_qsl(request.rfile.read(int(request.headers["Content-Length"])).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        name, _, secret = base64.b64decode(request.headers.get("Authorization", "")[6:]).decode().partition(":")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        is_right = (
            asked is not None
            and name == CLIENT_ID
            and secret.replace("+", " ").replace("%27", "'") == CLIENT_SECRET
            and form.get("redirect_uri") == asked["redirect_uri"]
            and challenge.decode().rstrip("=") == asked["code_challenge"]
        )
        if not is_right or asked is None:
            _answer(request, 400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            **self.claims, **self.spoil,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        token = {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "id_token": self._sign(claims)}
        _answer(request, 200, token)

    def _sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": self.key.kid}
        if self.forge == "hmac":
            # The classic confusion: signed with the public key as if it were a shared secret.
            shared = OctKey.import_key(self.key.as_pem(private=False))
            return jwt.encode({"alg": "HS256", "kid": self.key.kid}, claims, shared)
        if self.forge == "none":
            parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        if self.forge == "other key":
            return jwt.encode(header, claims, RSAKey.generate_key(2048))
        if self.forge == "nonsense":
            return "nonsense"
        return jwt.encode(header, claims, self.key)


def _answer(request: BaseHTTPRequestHandler, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
