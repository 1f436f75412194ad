"""A fresh sign-in before what cannot be taken back.

A session may be days old, and whoever sits before it now need not be who opened it. So what destroys much, or changes
who may enter, asks that its person proved who they are within the last minutes. Programs (tokens) prove it with each
request, and the command line belongs to whoever holds the server.

Declared where the operation is: `@needs_fresh_sign_in` on a method of an operator, or `require_fresh` in it.
`policy.require_to_administer` asks for all that changes users and tokens; looking at them needs the right alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from teknav_ops.errors import NotAllowed
from teknav_ops.path_prefix import at

#: A replay of more jobs than this at once repeats more than a person can look through.
MANY_JOBS: Final = 100
#: Where somebody proves it without a dialog of ours.
CONFIRM_PATH: Final = "/sign-in/confirm"


class FreshSignInNeeded(NotAllowed):
    """Allowed, but the session has not proved lately whose it is. Nothing was done; confirm and ask again."""

    def __init__(self, minutes: int) -> None:
        super().__init__(
            f"This needs a sign-in of the last {minutes} minutes. Confirm that it is you at {at(CONFIRM_PATH)}, "
            "then ask again. Nothing was done."
        )


def require_fresh(operator: Any) -> None:
    """Raises FreshSignInNeeded where the operator's session has not proved lately whose it is."""
    if operator.proof_wanted_minutes:
        raise FreshSignInNeeded(operator.proof_wanted_minutes)


Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def needs_fresh_sign_in(method: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Let a method run only for an operator (`self._operator`) whose sign-in is fresh. Stands below `@needs`."""

    @functools.wraps(method)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        require_fresh(args[0]._operator)  # type: ignore[attr-defined]
        return method(*args, **kwargs)

    checked.is_destructive = True  # type: ignore[attr-defined]
    return checked


def is_destructive(function: Any) -> bool:
    """Whether a method was declared to need a fresh sign-in."""
    return getattr(function, "is_destructive", False)
