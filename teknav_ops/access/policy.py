"""The policy: an OWNER may do all, anyone else nothing that changes a job."""

from __future__ import annotations

import dataclasses
import enum
import getpass

from teknav_ops.errors import NotAllowed
from teknav_ops.settings import Settings


class Role(enum.StrEnum):
    """OWNER may do all; VIEWER reads with payloads masked."""

    OWNER = "OWNER"
    VIEWER = "VIEWER"


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Who is acting; the name goes into every audit entry."""

    name: str
    role: Role


def local_operator(settings: Settings) -> Operator:
    """The person at this command line. Whoever can read the settings holds every secret already: an OWNER."""
    return Operator(settings.operator or getpass.getuser(), Role.OWNER)


def require_owner(operator: Operator, action: str) -> None:
    """Raises NotAllowed unless the operator is an OWNER."""
    if operator.role is not Role.OWNER:
        raise NotAllowed(f"{action}: {operator.name} is {operator.role}; this needs an OWNER")
