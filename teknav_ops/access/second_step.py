"""The second step of signing in: what comes between a right password (or link) and a session.

The first step hands out a challenge, a secret that says whose password was right and lasts some minutes.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from datetime import timedelta
from typing import Final, NoReturn

from teknav_ops.access.attempts import Attempts
from teknav_ops.access.policy import Role
from teknav_ops.access.refusals import Refusals
from teknav_ops.access.second_factor import SecondFactors, SetUp
from teknav_ops.access.user_rows import User
from teknav_ops.access.users import Users
from teknav_ops.errors import NotAllowed, WrongState
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.scripts import ScriptRunner

LIFE: Final = timedelta(minutes=5)


class CodeNeeded(NotAllowed):
    """The first step is done; `challenge` is for the second. With `is_set_up`, a factor must be set up first."""

    def __init__(self, challenge: str, *, is_set_up: bool) -> None:
        super().__init__("A code of your authenticator app is needed to sign in.")
        self.challenge = challenge
        self.is_set_up = is_set_up


class CodeRefused(NotAllowed):
    """It is not a code of this user, or it was used already."""


class ChallengeOver(WrongState):
    """The challenge is too old, was used, or the user has changed since."""

    def __init__(self) -> None:
        super().__init__("That took too long, or was done already. Sign in again.")


class SecondStep:
    """Asks for the second factor of who has one, and of OWNERs where the settings say so."""

    def __init__(
        self,
        client: Client,
        users: Users,
        factors: SecondFactors,
        attempts: Attempts,
        refusals: Refusals,
        *,
        owners_need_one: bool,
    ) -> None:
        self._client = client
        self._users = users
        self._factors = factors
        self._attempts = attempts
        self._refusals = refusals
        self._owners_need_one = owners_need_one

    def ask(self, user: User, how: str) -> None:
        """Raises CodeNeeded where the first step is not enough for this user."""
        has_one = self._factors.of(user.id) is not None
        if not has_one and not (self._owners_need_one and user.role is Role.OWNER):
            return
        challenge = secrets.token_urlsafe(32)
        text = f"{user.id}:{user.epoch}:{how}"
        call = scripts.put_text(_key(challenge), text=text, ttl_ms=int(LIFE.total_seconds() * 1000))
        ScriptRunner(self._client).run(call)
        raise CodeNeeded(challenge, is_set_up=not has_one)

    def take_code(self, challenge: str, typed: str, *, address: str) -> tuple[User, str]:
        """Who this is and how they came in, once the code is right.

        Raises:
            TooManyAttempts: nothing was looked at. CodeRefused, ChallengeOver.
        """
        user, how = self._look(challenge)
        accepted = self.check(user, typed, address=address)
        self._take(challenge)
        return user, f"{how} and {accepted}"

    def check(self, user: User, typed: str, *, address: str) -> str:
        """Which kind of code it was. Raises TooManyAttempts, CodeRefused."""
        self._attempts.begin_code(user.id)
        accepted = self._factors.accept(user.id, typed)
        if accepted is None:
            self._refuse(user, address)
        self._attempts.code_accepted(user.id)
        return accepted

    def begin_set_up(self, challenge: str, *, anew: bool) -> SetUp:
        """The key for the app of somebody who must set up a factor; not `anew`: the one begun. Raises ChallengeOver."""
        user, _ = self._look(challenge)
        return self._factors.begin(user.id, user.name) if anew else self._factors.begun(user.id, user.name)

    def finish_set_up(self, challenge: str, typed: str) -> tuple[User, str, list[str]]:
        """Turn the factor on; answers the recovery codes, too.

        Raises:
            TooManyAttempts: nothing was looked at. InvalidRequest: the wrong code. WrongState, ChallengeOver.
        """
        user, how = self._look(challenge)
        self._attempts.begin_code(user.id)
        codes = self._factors.confirm(user.id, user.name, typed)
        # The codes are told this once: nothing that ends in this moment may lose them.
        with contextlib.suppress(*OUTAGE_ERRORS, ChallengeOver):
            self._attempts.code_accepted(user.id)
            self._take(challenge)
        return user, f"{how} and code", codes

    def _look(self, challenge: str) -> tuple[User, str]:
        kept = self._client.get(_key(challenge)) or ""
        user_id, _, rest = kept.partition(":")
        epoch, _, how = rest.partition(":")
        user = self._users.by_id(int(user_id)) if user_id.isdigit() else None
        if user is None or str(user.epoch) != epoch:
            raise ChallengeOver
        return user, how

    def _take(self, challenge: str) -> None:
        if self._client.execute_command("GETDEL", _key(challenge)) is None:
            raise ChallengeOver

    def _refuse(self, user: User, address: str) -> NoReturn:
        self._refusals.record("user.sign_in_refused", actor=user.name, address=address, why="wrong or used code")
        raise CodeRefused("This code is wrong, or it was used already. Wait for the next one.")


def _key(challenge: str) -> str:
    return keys.sign_in_challenge(hashlib.sha256(challenge.encode("utf-8", "replace")).hexdigest())
