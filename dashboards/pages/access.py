"""Who may do what: users and tokens, with their roles, queues and limits; shown, added, changed and taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from dashboards.page import Outcome, Page, action
from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import Operation, Role
from teknav_ops.access.tokens import SCOPES
from teknav_ops.api.models_access import TokenModel, UserModel
from teknav_ops.errors import InvalidRequest

#: Users, and tokens, that the page lists at most: revoked tokens are kept for ever.
SHOWN: Final = 500


class AccessPage(Page):
    """Users and tokens, for who may manage them. Each change asks for a fresh sign-in."""

    name = "access"
    path = "access"
    place = "account"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Users and tokens"

    def concerns(self, event: Any) -> bool:
        """No event tells of them."""
        return False

    def load(self) -> dict[str, Any]:
        """The first of both, and how many more there are. Raises NotAllowed for who may not manage them."""
        self.visit.identity.require(Operation.ADMINISTER)
        services = self.visit.sources.services
        users, tokens = self._entrance.users.page(limit=SHOWN), self._entrance.tokens.page(limit=SHOWN)
        return {
            "users": [UserModel.of(user).model_dump() for user in users.items],
            "moreUsers": max(0, users.total_count - SHOWN),
            "tokens": [TokenModel.of(token).model_dump() for token in tokens.items],
            "moreTokens": max(0, tokens.total_count - SHOWN),
            "own": self.visit.operator.name,
            "roles": [role.value for role in Role],
            "scopes": [scope.value for scope in SCOPES],
            "viewersAllowed": services.settings.viewers_allowed,
        }

    @property
    def _entrance(self) -> Entrance:
        return self.visit.sources.services.entrance

    @action(Operation.ADMINISTER)
    def add_user(self, name: str, role: str, password: str, queues: list[str] | None = None) -> Outcome:
        """Somebody who may sign in with a password."""
        user = self._entrance.users.add(self.visit.operator, name, _role(role), password, queues=queues)
        return Outcome(f"Added {user.name} as {user.role}.")

    @action(Operation.ADMINISTER)
    def set_role(self, user: str, role: str, queues: list[str] | None = None) -> Outcome:
        """Another role, and the queues that it is for."""
        ended = self._entrance.users.set_role(self.visit.operator, user, _role(role), queues=queues)
        return Outcome(f"Changed the role of {user} to {role}; {_ended(ended)}.")

    @action(Operation.ADMINISTER)
    def set_password(self, user: str, password: str) -> Outcome:
        """A password in place of the one before."""
        ended = self._entrance.users.set_password(self.visit.operator, user, password)
        return Outcome(f"Changed the password of {user}; {_ended(ended)}.")

    @action(Operation.ADMINISTER)
    def disable_user(self, user: str) -> Outcome:
        """Let a user in no more."""
        ended = self._entrance.users.disable(self.visit.operator, user)
        return Outcome(f"Disabled {user}; {_ended(ended)}.")

    @action(Operation.ADMINISTER)
    def enable_user(self, user: str) -> Outcome:
        """Let a user in again."""
        self._entrance.users.enable(self.visit.operator, user)
        return Outcome(f"Enabled {user}.")

    @action(Operation.ADMINISTER)
    def remove_user(self, user: str) -> Outcome:
        """What they did stays in the audit trail under their name."""
        ended = self._entrance.users.remove(self.visit.operator, user)
        return Outcome(f"Removed {user}; {_ended(ended)}.")

    @action(Operation.ADMINISTER)
    def create_token(
        self,
        name: str,
        scopes: list[str],
        role: str | None,
        days: int | None,
        queues: list[str] | None = None,
        jobs_per_minute: int | None = None,
        backlog_limit: int | None = None,
        owner: str | None = None,
    ) -> Outcome:
        """A program's key, whose secret is shown this once."""
        if days is not None and not 1 <= days <= 3_650:
            raise InvalidRequest("days: must be 1 to 3,650, or empty for a token that never expires")
        secret, token = self._entrance.tokens.create(
            self.visit.operator,
            name,
            role=None if role is None else _role(role),
            scopes=[_scope(scope) for scope in scopes],
            life=None if days is None else timedelta(days=days),
            queues=queues,
            jobs_per_minute=jobs_per_minute,
            backlog_limit=backlog_limit,
            owner=owner,
        )
        return Outcome(f"Created {token.name}.", data={"secret": secret})

    @action(Operation.ADMINISTER)
    def revoke_token(self, token: str) -> Outcome:
        """Accept a token no more, from now on."""
        self._entrance.tokens.revoke(self.visit.operator, token)
        return Outcome(f"Revoked {token}.")


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidRequest(f"role: {text[:40]!r} is not one of {', '.join(Role)}") from None


def _scope(text: str) -> Operation:
    try:
        return Operation(text)
    except ValueError:
        raise InvalidRequest(f"scope: {text[:40]!r} is not one of {', '.join(SCOPES)}") from None


def _ended(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'} ended"
