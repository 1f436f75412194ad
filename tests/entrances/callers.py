"""Everybody who may stand before an entry point, what each carries, and what each is allowed."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Final

from sqlalchemy import update

from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.access.tokens import SCOPES
from teknav_ops.redis_state import keys
from teknav_ops.storage.tables import AccessToken
from teknav_ops.storage.tables.base import utc_now
from tests.entrances.prepared import PAUSED_QUEUE, PREPARER, QUEUE
from tests.support.web import PASSWORD, ROOT, Web

_ALL: Final = frozenset(Operation)
_VIEWING: Final = frozenset({Operation.READ, Operation.METRICS})
_OPERATING: Final = _VIEWING | {Operation.ACT}
#: Who is an OPERATOR of which queues: as patterns, and as what these stand for in the prepared data and elsewhere.
_OPERATORS: Final[dict[str, tuple[list[str] | None, frozenset[str] | None]]] = {
    "operator": (None, None),
    "operator of the queues": (["email:*", PAUSED_QUEUE], frozenset({QUEUE, PAUSED_QUEUE})),
    "operator of other queues": (["w*:*"], frozenset({"webhooks:deliver", "workflows:run"})),
}


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who asks. `rights` is written down here and not taken from the code: it is what the documentation promises."""

    name: str
    rights: frozenset[Operation] = frozenset()
    #: The queues that the rights are for; None: all of them. Reading the masked parts is for every queue.
    queues: frozenset[str] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    identity: Identity | None = None
    is_token: bool = False
    #: Lacks what proves that the request comes from one of our own pages.
    is_forged: bool = False
    #: A browser says where a socket's page came from.
    origin: str | None = None

    def may(self, operation: Operation, queue: str | None = QUEUE) -> bool:
        """Whether the documentation promises it to this one, on this queue; with None, on what belongs to no queue."""
        is_there = self.queues is None or operation in _VIEWING or queue in self.queues
        return operation in self.rights and is_there

    @property
    def is_let_in(self) -> bool:
        """Whether it is anybody at all."""
        return bool(self.rights) or (self.is_token and self.identity is not None)


NAMES: Final = (
    "nobody", "wrong cookie", "ended session", "session of a disabled user", "session of a removed user",
    "viewer", *_OPERATORS, "owner", "owner without CSRF token", "owner with another's CSRF token",
    "owner from another site", "owner from a page without an address", "unknown token", "revoked token",
    "expired token", "token of a disabled user", "token of a removed user", "token without scopes", "token read",
    "token act", "token enqueue", "token metrics", "token of a viewer", "token act of a viewer",
    "token act of an operator", "token of the queues", "token of other queues", "token read, act and enqueue",
)  # fmt: skip


class Callers:
    """Makes each of them once, on a served app."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._made: dict[str, Caller] = {}
        self._add_sessions()
        self._add_ended_sessions()
        self._add_forgeries()
        self._add_tokens()
        self._add_ended_tokens()
        assert set(self._made) == set(NAMES)

    def __getitem__(self, name: str) -> Caller:
        return self._made[name]

    def all(self) -> list[Caller]:
        """All of them, in the order of their names' list."""
        return [self._made[name] for name in NAMES]

    def _add(self, caller: Caller) -> None:
        self._made[caller.name] = caller

    # Browsers --------------------------------------------------------------------------------------

    def _session(self, name: str, role: Role, queues: list[str] | None = None) -> tuple[str, Identity]:
        entrance = self._web.services.entrance
        entrance.users.add(ROOT, name, role, PASSWORD, queues=queues)
        cookie = entrance.sign_in(name, PASSWORD, address="127.0.0.1").cookie
        identity = entrance.by_cookie(cookie, is_use=False)
        assert identity is not None
        return cookie, identity

    def _browser(self, cookie: str, csrf_token: str | None = None, **headers: str) -> tuple[tuple[str, str], ...]:
        carried = {"cookie": f"teknav_session={cookie}", **headers}
        return tuple((carried | ({"x-csrf-token": csrf_token} if csrf_token else {})).items())

    def _add_sessions(self) -> None:
        for name, role, rights in (("owner", Role.OWNER, _ALL), ("viewer", Role.VIEWER, _VIEWING)):
            cookie, identity = self._session(name, role)
            headers = self._browser(cookie, identity.csrf_token)
            self._add(Caller(name, rights, headers=headers, identity=identity, origin=self._web.url))
        for name, (patterns, queues) in _OPERATORS.items():
            cookie, identity = self._session(name, Role.OPERATOR, patterns)
            headers = self._browser(cookie, identity.csrf_token)
            self._add(Caller(name, _OPERATING, queues, headers, identity, origin=self._web.url))

    def _add_ended_sessions(self) -> None:
        services = self._web.services
        self._add(Caller("nobody"))
        self._add(Caller("wrong cookie", headers=self._browser("x" * 43), origin=self._web.url))
        ends = {
            "ended session": lambda name: None,
            "session of a disabled user": lambda name: services.entrance.users.disable(ROOT, name),
            "session of a removed user": lambda name: services.entrance.users.remove(ROOT, name),
        }
        for number, (name, end) in enumerate(ends.items()):
            cookie, identity = self._session(f"former-{number}", Role.OWNER)
            end(f"former-{number}")
            services.client.execute_command("UNLINK", keys.session(str(identity.session_id)))
            headers = self._browser(cookie, identity.csrf_token)
            self._add(Caller(name, headers=headers, identity=identity, origin=self._web.url))

    def _add_forgeries(self) -> None:
        owner, viewer = self._made["owner"], self._made["viewer"]
        assert owner.identity is not None and viewer.identity is not None
        cookie = dict(owner.headers)["cookie"].partition("=")[2]
        right, others = owner.identity.csrf_token, viewer.identity.csrf_token
        forgeries = {
            "owner without CSRF token": self._browser(cookie),
            "owner with another's CSRF token": self._browser(cookie, others),
            "owner from another site": self._browser(cookie, right, origin="https://evil.example"),
            "owner from a page without an address": self._browser(cookie, right, origin="null"),
        }
        for name, headers in forgeries.items():
            origin = dict(headers).get("origin", self._web.url)
            self._add(Caller(name, _ALL, None, headers, owner.identity, is_forged=True, origin=origin))

    # Programs --------------------------------------------------------------------------------------

    def _token(
        self,
        caller: str,
        rights: set[Operation],
        *scopes: Operation,
        role: Role = Role.OWNER,
        by: Operator = ROOT,
        patterns: list[str] | None = None,
        queues: frozenset[str] | None = None,
    ) -> None:
        name = caller.replace(" ", "-").replace(",", "")
        tokens = self._web.services.entrance.tokens
        secret, token = tokens.create(
            by, name, role=Role.OWNER, scopes=scopes or [Operation.METRICS], life=None, queues=patterns
        )
        # As an older version, or somebody's hand, may have left it.
        change = update(AccessToken).where(AccessToken.id == token.id)
        with self._web.services.database.session() as session:
            session.execute(change.values(role=role.value, scopes=[scope.value for scope in scopes]))
        identity = self._web.services.entrance.by_token(secret)
        headers = (("authorization", f"Bearer {secret}"),)
        self._add(Caller(caller, frozenset(rights), queues, headers, identity, is_token=True))

    def _add_tokens(self) -> None:
        self._token("token without scopes", set())
        for scope in SCOPES:
            self._token(f"token {scope}", {scope} | _implied(scope), scope)
        self._token("token of a viewer", {Operation.READ}, Operation.READ, role=Role.VIEWER)
        self._token("token act of a viewer", set(), Operation.ACT, role=Role.VIEWER)
        self._token("token act of an operator", {Operation.ACT}, Operation.ACT, role=Role.OPERATOR)
        several = (Operation.READ, Operation.ACT, Operation.ENQUEUE)
        for name in ("of the queues", "of other queues"):
            patterns, queues = _OPERATORS[f"operator {name}"]
            everything = {*several, Operation.READ_PAYLOADS, Operation.MANAGE}
            self._token(f"token {name}", everything, *several, patterns=patterns, queues=queues)
        self._token("token read, act and enqueue", {*several, Operation.READ_PAYLOADS, Operation.MANAGE}, *several)

    def _add_ended_tokens(self) -> None:
        entrance = self._web.services.entrance
        unknown = (("authorization", "Bearer tko_" + "x" * 43),)
        self._add(Caller("unknown token", headers=unknown, is_token=True))
        everything = set(SCOPES)
        for name in ("revoked token", "expired token"):
            self._token(name, everything, *SCOPES)
        entrance.tokens.revoke(ROOT, "revoked-token")
        with self._web.services.database.session() as session:
            expired = update(AccessToken).where(AccessToken.name == "expired-token")
            session.execute(expired.values(expires_at=utc_now() - timedelta(seconds=1)))
        for name, end in (("disabled", entrance.users.disable), ("removed", entrance.users.remove)):
            self._web.add_user(f"maker-{name}")
            self._token(f"token of a {name} user", everything, *SCOPES, by=Operator(f"maker-{name}", Role.OWNER))
            end(PREPARER, f"maker-{name}")
        for caller in list(self._made.values()):
            if caller.name.startswith(("revoked", "expired", "token of a disabled", "token of a removed")):
                self._made[caller.name] = dataclasses.replace(caller, rights=frozenset(), identity=None)


def _implied(scope: Operation) -> set[Operation]:
    """What an owner's token may besides, with this scope."""
    implied = {Operation.READ: {Operation.READ_PAYLOADS}, Operation.ACT: {Operation.MANAGE}}
    return implied.get(scope, set())
