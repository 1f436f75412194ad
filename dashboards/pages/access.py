"""Who may do what: users and tokens, with their roles, queues and limits."""

from __future__ import annotations

from typing import Any

from dashboards.page import Page
from teknav_ops.access.policy import Operation
from teknav_ops.api.routes.access import TokenModel, UserModel


class AccessPage(Page):
    """Users and tokens, for who may manage them; the command line changes them."""

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
        """All of both. Raises NotAllowed for who may not manage them."""
        self.visit.identity.require(Operation.ADMINISTER)
        entrance = self.visit.sources.services.entrance
        return {
            "users": [UserModel.of(user).model_dump() for user in entrance.users.all()],
            "tokens": [TokenModel.of(token).model_dump() for token in entrance.tokens.all()],
        }
