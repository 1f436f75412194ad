"""Which role somebody has whom the OpenID provider vouches for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from teknav_ops.access.actors import provider_actor
from teknav_ops.access.policy import Role
from teknav_ops.queue_patterns import ALL_QUEUES, QueuePatterns, covers, is_every_queue
from teknav_ops.settings import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A name for the audit trail, a role, and the queues that it is for."""

    name: str
    role: Role
    queues: QueuePatterns = ALL_QUEUES


def person_of(claims: Mapping[str, Any], settings: Settings) -> Person | None:
    """The person and the role by the settings; None for those who are not on any list.

    Only an address that the provider has verified counts: anybody can type one. Without it, the name is the provider's
    own id of the person, which nobody else can claim.
    """
    address = str(claims.get("email") or "").strip().lower() if claims.get("email_verified") is True else ""
    name = provider_actor(address, str(claims.get("sub")))
    owners = {owner.strip().lower() for owner in settings.oidc_owners}
    if (address and address in owners) or _has(claims, settings.oidc_owner_claim):
        return Person(name, Role.OWNER)
    queues = {
        pattern
        for claim, patterns in settings.oidc_operator_claims.items() if _has(claims, claim)
        for pattern in patterns
    }  # fmt: skip
    if queues:
        return Person(name, Role.OPERATOR, ALL_QUEUES if is_every_queue(tuple(queues)) else tuple(sorted(queues)))
    if _has(claims, settings.oidc_viewer_claim):
        return Person(name, Role.VIEWER)
    return None


def patterns_without_queue(settings: Settings, queues: Collection[str]) -> list[str]:
    """What of the claims of OPERATORs names no queue and so gives no right, in words; mostly a misspelt name."""
    return [
        f"TEKNAV_OIDC_OPERATOR_CLAIMS: {pattern!r} of {claim!r} names no queue"
        for claim, patterns in settings.oidc_operator_claims.items()
        for pattern in patterns
        if not any(covers((pattern,), queue) for queue in queues)
    ]


def _has(claims: Mapping[str, Any], wanted: str | None) -> bool:
    if not wanted:
        return False
    name, _, value = wanted.partition("=")
    if name == "email" and claims.get("email_verified") is not True:
        return False
    found = claims.get(name)
    values = found if isinstance(found, list) else [found]
    return any(isinstance(item, str) and item == value for item in values)
