"""What everybody may do to their own account: prove that a session is theirs, password, second factor."""

from __future__ import annotations

import contextlib
from typing import Any

from teknav_ops.access import totp
from teknav_ops.access.attempts import Attempts
from teknav_ops.access.freshness import require_fresh
from teknav_ops.access.identity import Identity
from teknav_ops.access.passwords import verify
from teknav_ops.access.refusals import Refusals
from teknav_ops.access.second_factor import Factor, SecondFactors, SetUp
from teknav_ops.access.second_step import SecondStep
from teknav_ops.access.sessions import Sessions
from teknav_ops.access.user_rows import User
from teknav_ops.access.users import Users
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import NotAllowed
from teknav_ops.redis_state.connection import OUTAGE_ERRORS


class OwnAccount:
    """Asked with the identity of a session; whoever came through the OpenID provider has no password here."""

    def __init__(
        self,
        operator_log: OperatorLog,
        sessions: Sessions,
        users: Users,
        attempts: Attempts,
        refusals: Refusals,
        factors: SecondFactors,
        step: SecondStep,
    ) -> None:
        self._log = operator_log
        self._sessions = sessions
        self._users = users
        self._attempts = attempts
        self._refusals = refusals
        self._factors = factors
        self._step = step

    # Whose session it is ---------------------------------------------------------------------------

    def confirm(self, identity: Identity, secret: str) -> None:
        """Somebody proves again that their session is theirs: by the password, or by a code of the second factor.

        Raises:
            TooManyAttempts: nothing was looked at. NotAllowed: it is neither, or they have none here.
        """
        user, _ = self._own(identity)
        if totp.read_code(secret) is not None and self._factors.of(user.id) is not None:
            how = self._step.check(user, secret, address=identity.address)
        else:
            self._check_password(identity, secret, wanted="confirm")
            how = "password"
        self._confirmed(identity, how=how)

    def confirm_sign_on(self, identity: Identity, name: str) -> None:
        """The provider vouches anew for whoever has this session. Raises NotAllowed when it was somebody else."""
        if identity.user_id is not None or identity.operator.name != name:
            raise NotAllowed("The provider vouches for somebody else than who is signed in here.")
        self._confirmed(identity, how="provider")

    def _confirmed(self, identity: Identity, *, how: str) -> None:
        facts: dict[str, Any] = {"address": identity.address, "how": how}
        with self._log.record("user.confirmed", actor=identity.operator.name, **facts):
            self._sessions.prove(str(identity.session_id))

    # Password ----------------------------------------------------------------------------------------

    def change_password(self, identity: Identity, current: str, new: str) -> int:
        """Change the password of who proves to know the old one; answers how many other sessions ended.

        Raises:
            TooManyAttempts: nothing was looked at. NotAllowed: the old password is wrong, or there is none to change.
            InvalidRequest: the new one is too weak.
        """
        self._check_password(identity, current, wanted="change password")
        return self._users.set_own_password(identity.operator, new, session_id=str(identity.session_id))

    def _check_password(self, identity: Identity, password: str, *, wanted: str) -> None:
        name, address = identity.operator.name, identity.address
        user, password_hash = self._own(identity)
        self._attempts.begin(name, address)
        if not verify(password, password_hash):
            self._refusals.record("user.refused", actor=name, address=address, operation=wanted)
            raise NotAllowed("That is not your password.")
        self._attempts.succeeded(name, address)
        self._users.note_password(user, password, password_hash)

    def _own(self, identity: Identity) -> tuple[User, str]:
        found = self._users.find(identity.operator.name)
        # Somebody of the same name who came through single sign-on is somebody else.
        if identity.user_id is None or found is None or found[0].id != identity.user_id:
            raise NotAllowed("password: you have none here: you came through single sign-on")
        return found

    # Second factor -----------------------------------------------------------------------------------

    def second_factor(self, identity: Identity) -> Factor | None:
        """The factor of who asks; None where it is off."""
        return None if identity.user_id is None else self._factors.of(identity.user_id)

    def begin_second_factor(self, identity: Identity) -> SetUp:
        """A key for an app. Raises FreshSignInNeeded: a stolen session must not set up its thief's app."""
        user, _ = self._own(identity)
        require_fresh(identity.operator)
        return self._factors.begin(user.id, user.name)

    def finish_second_factor(self, identity: Identity, code: str) -> list[str]:
        """Turn it on by a first code; answers the recovery codes.

        Raises:
            FreshSignInNeeded. TooManyAttempts: nothing was looked at. InvalidRequest, WrongState.
        """
        user, _ = self._own(identity)
        require_fresh(identity.operator)
        self._attempts.begin_code(user.id)
        codes = self._factors.confirm(user.id, user.name, code)
        # The codes are told this once: an outage that leaves an attempt counted must not lose them.
        with contextlib.suppress(*OUTAGE_ERRORS):
            self._attempts.code_accepted(user.id)
        return codes

    def new_recovery_codes(self, identity: Identity) -> list[str]:
        """New recovery codes in place of those from before. Raises FreshSignInNeeded, WrongState."""
        user, _ = self._own(identity)
        require_fresh(identity.operator)
        return self._factors.new_recovery_codes(user.id, user.name)

    def end_second_factor(self, identity: Identity) -> None:
        """Turn it off. Raises FreshSignInNeeded; WrongState where the settings demand one."""
        user, _ = self._own(identity)
        require_fresh(identity.operator)
        self._factors.turn_off(user.id, user.name)
