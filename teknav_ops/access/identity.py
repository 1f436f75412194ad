"""Who a request comes from, once that has been checked."""

from __future__ import annotations

import contextvars
import dataclasses
from typing import Literal

from teknav_ops.access.policy import Operation, Operator, require
from teknav_ops.errors import NotAllowed


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """An operator, and the way in. `session_id` is the hash under which Redis keeps the session, not the cookie."""

    operator: Operator
    via: Literal["session", "token", "local"]
    session_id: str | None = None
    csrf_token: str | None = None
    token_id: int | None = None
    #: The local user; None for programs, and for those who came through the OpenID provider.
    user_id: int | None = None
    #: Where the request came from. Another address makes nobody another.
    address: str = dataclasses.field(default="", compare=False)

    def may(self, operation: Operation, queue: str | None = None) -> bool:
        """Whether the operation is allowed on this queue; without one, on all of them."""
        return self.operator.may(operation, queue)

    def require(self, operation: Operation, queue: str | None = None) -> None:
        """Raises NotAllowed unless the operation is allowed on this queue; without one, on all of them."""
        require(self.operator, operation, queue)


#: Whom the running request, page or socket belongs to; set by the guard. Pages read it while they are built.
current_identity: contextvars.ContextVar[Identity | None] = contextvars.ContextVar("current_identity", default=None)


def identity_now() -> Identity:
    """Whom the running request belongs to. Raises NotAllowed outside of one."""
    identity = current_identity.get()
    if identity is None:
        raise NotAllowed("nobody has been let in here")
    return identity
