"""The policy: which role an operation needs. One table, asked by the guard, the routes, the pages and the CLI."""

from __future__ import annotations

import dataclasses
import enum
import getpass
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
    #: Pause, resume, configure, retry, promote, cancel, replay, delete, purge.
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


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Who is acting; the name goes into every audit entry."""

    name: str
    role: Role


def local_operator(settings: Settings) -> Operator:
    """The person at this command line. Whoever can read the settings holds every secret already: an OWNER."""
    return Operator(settings.operator or getpass.getuser(), Role.OWNER)


def is_allowed(role: Role, operation: Operation) -> bool:
    """Whether the role is enough for the operation."""
    return role is Role.OWNER or LEAST_ROLE[operation] is role


def require(operator: Operator, operation: Operation) -> None:
    """Raises NotAllowed unless the operator's role is enough for the operation."""
    if not is_allowed(operator.role, operation):
        raise NotAllowed(f"{operation}: {operator.name} is {operator.role}; this needs an {LEAST_ROLE[operation]}")


def require_owner(operator: Operator, action: str) -> None:
    """Raises NotAllowed unless the operator is an OWNER."""
    if operator.role is not Role.OWNER:
        raise NotAllowed(f"{action}: {operator.name} is {operator.role}; this needs an OWNER")
