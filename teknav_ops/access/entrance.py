"""The entrance: from a cookie, a token, a password or a link to an identity. Knows nothing of HTTP."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Final, NoReturn

from teknav_ops.access.attempts import Attempts
from teknav_ops.access.identity import Identity
from teknav_ops.access.links import FIRST_OWNER, Links, LinkUsedUp
from teknav_ops.access.own_account import OwnAccount
from teknav_ops.access.passwords import check_strength, verify
from teknav_ops.access.policy import Operator, Role
from teknav_ops.access.refusals import Refusals
from teknav_ops.access.second_factor import SecondFactors
from teknav_ops.access.second_step import SecondStep
from teknav_ops.access.sessions import NewSession, Session, Sessions, WayIn
from teknav_ops.access.signed_in import SignedIn
from teknav_ops.access.tokens import Tokens
from teknav_ops.access.user_names import checked_name
from teknav_ops.access.user_rows import User
from teknav_ops.access.users import Users
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import NotAllowed, StorageUnavailable
from teknav_ops.queue_patterns import ALL_QUEUES, QueuePatterns
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.settings import Settings

#: A session is checked against its user in SQL at most this often per process. Ending a session works at once without
#: it; this catches what Redis cannot know, such as a process that died between the two.
_STANDING_SECONDS: Final = 5.0
#: A single sign-on is not seen to end at the provider, so it lasts a shift and the lunch after it.
_SIGN_ON_HOURS: Final = 12


class SignInRefused(NotAllowed):
    """The name or the password is wrong, or the user may not enter. Says no more to strangers."""


class Entrance:
    """Lets operators in and out. One per process; thread-safe."""

    def __init__(self, settings: Settings, client: Client, operator_log: OperatorLog) -> None:
        self._viewers_allowed = settings.viewers_allowed
        self._fresh_minutes = settings.fresh_sign_in_minutes
        self._log = operator_log
        self.sessions = Sessions(client, idle_minutes=settings.session_idle_minutes, hours=settings.session_hours)
        self.signed_in = SignedIn(operator_log, self.sessions)
        self.users = Users(operator_log, self.sessions)
        self.tokens = Tokens(operator_log, viewers_allowed=settings.viewers_allowed)
        self.links = Links(client, operator_log, self.users)
        self.attempts = Attempts(client)
        self.refusals = Refusals(client, operator_log.database)
        self.factors = SecondFactors(settings, operator_log, self.users)
        is_needed = settings.owners_need_second_factor
        self.second_step = SecondStep(
            client, self.users, self.factors, self.attempts, self.refusals, owners_need_one=is_needed
        )
        self.own = OwnAccount(
            operator_log, self.sessions, self.users, self.attempts, self.refusals, self.factors, self.second_step
        )
        self._standing: dict[int, tuple[float, User | None]] = {}

    # Who is it -----------------------------------------------------------------------------------

    def by_cookie(self, cookie: str, *, is_use: bool) -> Identity | None:
        """The identity of a signed-in browser; None when the session has ended."""
        session = self.sessions.find(cookie, is_use=is_use)
        return self._identity(session) if session is not None else None

    def by_token(self, secret: str) -> Identity | None:
        """The identity of a program; None when the token is not, or no more, accepted."""
        token = self.tokens.recognise(secret)
        if token is None or not self.is_let_in(token.role):
            return None
        operator = Operator(f"token:{token.name}", token.role, token.scopes, token.queues, token.quota)
        return Identity(operator, "token", token_id=token.id)

    def still_in(self, identities: list[Identity]) -> set[Identity]:
        """Which of these are still let in: asked for connections that stay open."""
        session_ids = [identity.session_id for identity in identities if identity.session_id]
        sessions = self.sessions.find_many(session_ids)
        alive = {session_id for session_id, session in sessions.items() if self._identity(session) is not None}
        token_ids = {identity.token_id for identity in identities if identity.token_id is not None}
        live_tokens = self.tokens.live_ids(token_ids) if token_ids else set()
        return {
            identity
            for identity in identities
            if identity.session_id in alive or identity.token_id in live_tokens or identity.via == "local"
        }

    def current(self, identity: Identity) -> Identity | None:
        """What an identity from earlier is now; None when it is let in no more. For pages that stay open."""
        if identity.session_id is None:
            return identity if self.still_in([identity]) else None
        session = self.sessions.find_many([identity.session_id]).get(identity.session_id)
        now = self._identity(session) if session is not None else None
        return None if now is None else dataclasses.replace(now, address=identity.address)

    def is_let_in(self, role: Role) -> bool:
        """Whether the role may enter at all: VIEWERs only where the setting lets them."""
        return role is not Role.VIEWER or self._viewers_allowed

    def _identity(self, session: Session) -> Identity | None:
        if not self.is_let_in(session.role) or not self._stands(session):
            return None
        is_fresh = session.proved_ago_ms is not None and 0 <= session.proved_ago_ms <= self._fresh_minutes * 60_000
        wanted_minutes = 0 if is_fresh else self._fresh_minutes
        operator = Operator(session.name, session.role, queues=session.queues, proof_wanted_minutes=wanted_minutes)
        return Identity(
            operator, "session", session_id=session.id, csrf_token=session.csrf_token, user_id=session.user_id
        )

    def _stands(self, session: Session) -> bool:
        """Whether the user is still who the session says."""
        if session.user_id is None:
            return True
        checked_at, user = self._standing.get(session.user_id, (0.0, None))
        # A user not yet seen in this epoch is looked up at once, so a new session never meets an old answer.
        if time.monotonic() - checked_at > _STANDING_SECONDS or user is None or user.epoch != session.epoch:
            user = self.users.by_id(session.user_id)
            self._standing[session.user_id] = (time.monotonic(), user)
        return (
            user is not None
            and user.disabled_at is None
            and (user.epoch, user.role, user.queues) == (session.epoch, session.role, session.queues)
        )

    # In and out ----------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, *, address: str, agent: str = "") -> NewSession:
        """Open a session for a name and a password.

        Raises:
            TooManyAttempts: nothing was looked at. SignInRefused: one of the two is wrong, or the user may not enter.
            CodeNeeded: both are right, and the second step is next.
        """
        self.attempts.begin(name, address)
        found = self.users.find(name)
        is_right = verify(password, found[1] if found else None)
        if found is None or not is_right:
            # An unknown name may be a password typed into the wrong field, so it is not written down.
            self._refuse(found[0].name if found else None, address, "wrong name or password")
        user, password_hash = found
        self._check_standing(user, address)
        self.attempts.succeeded(name, address)
        # Before the second step, which does not see the password any more.
        self.users.note_password(user, password, password_hash)
        return self._let_in(user, WayIn("password", address, agent))

    def sign_in_by_link(self, secret: str, *, address: str, agent: str = "") -> NewSession:
        """Open a session for a one-time link. Raises LinkUsedUp, SignInRefused, CodeNeeded."""
        user_id, _, epoch = self.links.take(secret).partition(":")
        user = self.users.by_id(int(user_id)) if user_id.isdigit() else None
        # A link made before a change of password or role is worth no more than a session from before it.
        if user is None or str(user.epoch) != epoch:
            raise LinkUsedUp
        self._check_standing(user, address)
        return self._let_in(user, WayIn("link", address, agent))

    def become_first_owner(self, secret: str, name: str, password: str, *, address: str, agent: str = "") -> NewSession:
        """Add the first owner and open a session. A weak password does not use the link up.

        Raises:
            InvalidRequest: name or password. LinkUsedUp: also when there is an owner by now. CodeNeeded.
        """
        if self.links.look(secret) != FIRST_OWNER:
            raise LinkUsedUp
        check_strength(password, checked_name(name))
        self.links.take(secret)
        user = self.users.add(Operator(name, Role.OWNER), name, Role.OWNER, password, only_as_first=True)
        return self._let_in(user, WayIn("first link", address, agent))

    def sign_on(
        self,
        name: str,
        role: Role,
        *,
        address: str,
        agent: str = "",
        queues: QueuePatterns = ALL_QUEUES,
        is_proved: bool = False,
    ) -> NewSession:
        """Open a session for somebody the OpenID provider vouches for.

        `is_proved`: the provider asked the person themselves just now, and did not only remember their browser.

        Raises:
            SignInRefused: also where a local user has the name. One name is one person: in the audit trail, among the
            sessions that end together, and so that who is disabled here does not come in there.
        """
        if self.users.find(name) is not None:
            self._refuse(name, address, "a local user has this name")
        if not self.is_let_in(role):
            self._refuse(name, address, "viewers are not let in")
        facts: dict[str, Any] = {"address": address, "how": "provider", "role": role.value, "queues": list(queues)}
        with self._log.record("user.signed_in", actor=name, **facts):
            way = WayIn("provider", address, agent)
            life: dict[str, Any] = {"hours": _SIGN_ON_HOURS, "is_proved": is_proved}
            return self.sessions.open(name, role, user_id=None, epoch=0, queues=queues, way=way, **life)

    def sign_out(self, identity: Identity) -> None:
        """End the session, everywhere and at once."""
        if identity.session_id is not None and self.sessions.end(identity.session_id):
            with self._log.record("user.signed_out", actor=identity.operator.name):
                pass

    def sign_in_by_code(self, challenge: str, code: str, *, address: str, agent: str = "") -> NewSession:
        """The second step, with a code of the app or a recovery code.

        Raises:
            TooManyAttempts: nothing was looked at. CodeRefused, ChallengeOver, SignInRefused.
        """
        user, how = self.second_step.take_code(challenge, code, address=address)
        self._check_standing(user, address)
        return self._open(user, WayIn(how, address, agent))

    def sign_in_by_set_up(
        self, challenge: str, code: str, *, address: str, agent: str = ""
    ) -> tuple[NewSession | None, list[str]]:
        """The second step of who had to set up a factor; answers the recovery codes, too, which are kept nowhere. No
        session where Redis or the database went away once the factor was on.

        Raises:
            TooManyAttempts: nothing was looked at. InvalidRequest: the wrong code. ChallengeOver, SignInRefused.
        """
        user, how, codes = self.second_step.finish_set_up(challenge, code)
        try:
            self._check_standing(user, address)
            return self._open(user, WayIn(how, address, agent)), codes
        except (*OUTAGE_ERRORS, StorageUnavailable):  # type: ignore[misc]
            return None, codes

    def _let_in(self, user: User, way: WayIn) -> NewSession:
        """Open a session. Raises CodeNeeded where the first step is not enough."""
        self.second_step.ask(user, way.how)
        return self._open(user, way)

    def _open(self, user: User, way: WayIn) -> NewSession:
        facts: dict[str, Any] = {"address": way.address, "how": way.how, "role": user.role.value}
        with self._log.record("user.signed_in", actor=user.name, **facts):
            opened = self.sessions.open(
                user.name, user.role, user_id=user.id, epoch=user.epoch, queues=user.queues, way=way
            )
        self.users.note_sign_in(user)
        return opened

    def _check_standing(self, user: User, address: str) -> None:
        if user.disabled_at is not None:
            self._refuse(user.name, address, "disabled")
        if not self.is_let_in(user.role):
            self._refuse(user.name, address, "viewers are not let in")

    def _refuse(self, name: str | None, address: str, why: str) -> NoReturn:
        self.refusals.record("user.sign_in_refused", actor=name, address=address, why=why)
        raise SignInRefused("The name or the password is wrong, or this account may not enter.")
