"""One's own account: where am I signed in? And for an OWNER: where is somebody else?"""

from __future__ import annotations

import dataclasses
from typing import Any

from dashboards.page import Outcome, Page, action
from teknav_ops.access.devices import device_of
from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import Operation
from teknav_ops.access.sessions import OpenSession


class AccountPage(Page):
    """Open sessions, each of which can be ended, and the password."""

    name = "account"
    path = "account"
    place = "account"

    @property
    def _entrance(self) -> Entrance:
        return self.visit.sources.services.entrance

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Your account"

    def concerns(self, event: Any) -> bool:
        """No event tells of sessions."""
        return False

    def load(self) -> dict[str, Any]:
        """The sessions of the visitor, or of the user that is asked for. Raises NotAllowed for another's."""
        identity = self.visit.identity
        name = self.visit.filter("user") or identity.operator.name
        sessions = self._entrance.signed_in.of(identity.operator, name)
        return {
            "user": name,
            "own": identity.operator.name,
            "hasPassword": identity.user_id is not None,
            "mayManage": identity.may(Operation.ADMINISTER),
            "sessions": [self._row(session) for session in sessions],
            "factor": self._factor(),
        }

    def _factor(self) -> dict[str, Any] | None:
        factor = self._entrance.own.second_factor(self.visit.identity)
        return None if factor is None else {"since": factor.since, "codesLeft": factor.recovery_codes_left}

    def _row(self, session: OpenSession) -> dict[str, Any]:
        return {
            "handle": session.handle,
            "device": device_of(session.way.agent),
            "agent": session.way.agent,
            "how": session.way.how,
            "address": session.way.address,
            "openedAt": session.opened_at,
            "usedAt": session.used_at,
            "endsAt": session.ends_at,
            "isThis": session.id == self.visit.identity.session_id,
        }

    @action(Operation.READ)
    def end_session(self, user: str, session: str) -> Outcome:
        """End one session, one's own or, for who manages users, another's."""
        self._entrance.signed_in.end(self.visit.operator, user, session)
        return Outcome("That session is ended.")

    @action(Operation.READ)
    def end_sessions(self, user: str) -> Outcome:
        """End all sessions of a user but this one."""
        ended = self._entrance.signed_in.end_all(self.visit.operator, user, but=self.visit.identity.session_id)
        return Outcome(f"{ended} session{'' if ended == 1 else 's'} ended.")

    @action(Operation.READ)
    def change_password(self, current: str, new: str) -> Outcome:
        """Change one's own password; ends all other sessions."""
        ended = self._entrance.own.change_password(self.visit.identity, current, new)
        return Outcome(f"Your password is changed; {ended} other session{'' if ended == 1 else 's'} ended.")

    @action(Operation.READ)
    def begin_second_factor(self) -> Outcome:
        """A key for an authenticator app."""
        return Outcome(data=dataclasses.asdict(self._entrance.own.begin_second_factor(self.visit.identity)))

    @action(Operation.READ)
    def finish_second_factor(self, code: str) -> Outcome:
        """Turn the second factor on by a first code of the app."""
        codes = self._entrance.own.finish_second_factor(self.visit.identity, code)
        return Outcome("The second factor is on.", data={"codes": codes})

    @action(Operation.READ)
    def new_recovery_codes(self) -> Outcome:
        """Recovery codes in place of those from before."""
        return Outcome(data={"codes": self._entrance.own.new_recovery_codes(self.visit.identity)})

    @action(Operation.READ)
    def end_second_factor(self) -> Outcome:
        """Turn the second factor off."""
        self._entrance.own.end_second_factor(self.visit.identity)
        return Outcome("The second factor is off. Sign-in needs the password alone.")

    @action(Operation.ADMINISTER)
    def reset_second_factor(self, user: str) -> Outcome:
        """Take the second factor of somebody who has lost it."""
        self._entrance.factors.reset(self.visit.operator, user)
        return Outcome(f"{user} signs in without a second factor now, and can set up another.")
