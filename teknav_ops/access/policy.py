"""The policy: which role an operation needs, and which scope of a token.

One table and one check (`is_allowed`), asked by the guard, the routes, the pages, the command line and `Control`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import getpass
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

from teknav_ops.errors import NotAllowed
from teknav_ops.settings import Settings


class Role(enum.StrEnum):
    """OWNER may do all; VIEWER reads with payloads masked."""

    OWNER = "OWNER"
    VIEWER = "VIEWER"


class Operation(enum.StrEnum):
    """What can be done. A token's scopes are operations; ADMINISTER is never given to a token."""

    #: See queues, jobs, dead letters, audit, reports.
    READ = "read"
    #: See what is inside payloads, results and errors. Goes with `read` in a token's scopes.
    READ_PAYLOADS = "read-payloads"
    #: Pause, resume, configure, retry, promote, cancel, run again, replay, delete, purge.
    ACT = "act"
    #: Create jobs.
    ENQUEUE = "enqueue"
    #: Scrape /metrics.
    METRICS = "metrics"
    #: Users and tokens.
    ADMINISTER = "administer"


#: The least role for each operation.
LEAST_ROLE: Final[Mapping[Operation, Role]] = MappingProxyType(
    {
        Operation.READ: Role.VIEWER,
        Operation.READ_PAYLOADS: Role.OWNER,
        Operation.ACT: Role.OWNER,
        Operation.ENQUEUE: Role.OWNER,
        Operation.METRICS: Role.VIEWER,
        Operation.ADMINISTER: Role.OWNER,
    }
)


#: A person may do whatever the role allows.
ALL_OPERATIONS: Final = frozenset(Operation)


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Who is acting. The name goes into every audit entry; a token's scopes limit what its role allows."""

    name: str
    role: Role
    scopes: frozenset[Operation] = ALL_OPERATIONS

    def may(self, operation: Operation) -> bool:
        """Whether role and scopes allow the operation."""
        return operation in self.scopes and is_allowed(self.role, operation)


def local_operator(settings: Settings) -> Operator:
    """The person at this command line. Whoever can read the settings holds every secret already: an OWNER."""
    return Operator(settings.operator or getpass.getuser(), Role.OWNER)


def is_allowed(role: Role, operation: Operation) -> bool:
    """Whether the role is enough for the operation."""
    return role is Role.OWNER or LEAST_ROLE[operation] is role


def require(operator: Operator, operation: Operation) -> None:
    """Raises NotAllowed unless the operator's role and scopes are enough for the operation."""
    if not is_allowed(operator.role, operation):
        raise NotAllowed(f"{operation}: {operator.name} is {operator.role}; this needs an {LEAST_ROLE[operation]}")
    if operation not in operator.scopes:
        raise NotAllowed(f"{operation}: the token has the scopes {', '.join(sorted(operator.scopes))} only")


def searched_text(operator: Operator, text: str | None) -> str | None:
    """A filter that looks inside payloads, errors or details.

    Every list that can be searched takes its text from here: an answer that depends on a payload tells what is in it.

    Raises:
        NotAllowed: there is a text, and the operator may not read payloads.
    """
    if text is not None and not operator.may(Operation.READ_PAYLOADS):
        raise NotAllowed("text: looks into payloads, and your role or token may not read them")
    return text


Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def needs(operation: Operation) -> Callable[[Callable[Parameters, Answer]], Callable[Parameters, Answer]]:
    """Let a method run only for an operator (`self._operator`) who may do `operation`; nothing is read before."""

    def declare(method: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        @functools.wraps(method)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            operator: Operator = args[0]._operator  # type: ignore[attr-defined]
            require(operator, operation)
            return method(*args, **kwargs)

        checked.operation = operation  # type: ignore[attr-defined]
        return checked

    return declare


def needed_by(function: Any) -> Operation | None:
    """The operation that a function or method was declared to need; None where none was."""
    return getattr(function, "operation", None)
