"""One-time sign-in links: how the first owner gets in, and whoever is locked out. There is no default password."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final, cast

from teknav_ops.access.policy import Operator, require_to_administer
from teknav_ops.access.user_rows import UnknownUser
from teknav_ops.access.users import Users
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import WrongState
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner

FIRST_OWNER: Final = "first-owner"
#: As long as somebody may take to read the terminal after the first start.
FIRST_OWNER_LIFE: Final = timedelta(hours=24)
USER_LIFE: Final = timedelta(minutes=15)


class LinkUsedUp(WrongState):
    """The link was used already, is too old, or never was one."""

    def __init__(self) -> None:
        super().__init__("This link was used already or is too old. Run `teknav users link NAME` for a new one.")


class Links:
    """Makes links' secrets and takes them back, once each. Only their hash is kept."""

    def __init__(self, client: Client, operator_log: OperatorLog, users: Users) -> None:
        self._client = client
        self._log = operator_log
        self._users = users

    def for_first_owner(self) -> str | None:
        """A secret that lets its holder become the first owner; None when there are users."""
        if self._users.count():
            return None
        return self._make(FIRST_OWNER, FIRST_OWNER_LIFE)

    def for_user(self, by: Operator, name: str) -> str:
        """A secret that signs a user in, once. Raises UnknownUser, or WrongState for a disabled one."""
        require_to_administer(by)
        with self._log.record("user.link_made", actor=by.name, user=name, is_told_once=True):
            found = self._users.find(name)
            if found is None:
                raise UnknownUser(name)
            if found[0].disabled_at is not None:
                raise WrongState(f"{found[0].name} is disabled; run `teknav users enable` first")
            return self._make(f"{found[0].id}:{found[0].epoch}", USER_LIFE)

    def _make(self, purpose: str, life: timedelta) -> str:
        secret = secrets.token_urlsafe(32)
        call = scripts.put_text(_key(secret), text=purpose, ttl_ms=int(life.total_seconds() * 1000))
        ScriptRunner(self._client).run(call)
        return secret

    def look(self, secret: str) -> str | None:
        """What the link is for, without using it up: a page that shows it may be fetched by a preview.

        A link for the first owner is for nothing once there is a user, also one of another start or command.
        """
        purpose: str | None = self._client.get(_key(secret))
        return None if purpose == FIRST_OWNER and self._users.count() else purpose

    def take(self, secret: str) -> str:
        """What the link is for; from now on it is for nothing. Raises LinkUsedUp."""
        purpose = cast("str | None", self._client.execute_command("GETDEL", _key(secret)))
        if purpose is None:
            raise LinkUsedUp
        return purpose


def _key(secret: str) -> str:
    return keys.sign_in_link(hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest())
