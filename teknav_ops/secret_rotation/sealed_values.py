"""What was found of sealed values, by their kind and key."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Final

JOB_PAYLOADS: Final = "job payloads"
DEAD_LETTERS: Final = "dead letters"
WEBHOOK_SECRETS: Final = "webhook secrets"
SECOND_FACTORS: Final = "second factors"
#: Links of the audit chain, which are signed and not encrypted.
AUDIT_LINKS: Final = "audit links"
KINDS: Final = (JOB_PAYLOADS, DEAD_LETTERS, WEBHOOK_SECRETS, SECOND_FACTORS, AUDIT_LINKS)
_NAMED: Final = 20


@dataclasses.dataclass(slots=True)
class SealedValues:
    """Counts of one walk through all that is kept; `None` for a key stands for none of those that are set."""

    counts: Counter[tuple[str, str | None]] = dataclasses.field(default_factory=Counter)
    #: Where values are that no key opens: the first of them.
    unreadable: list[str] = dataclasses.field(default_factory=list)
    resealed: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, kind: str, key_id: str | None, where: str) -> None:
        """One more value."""
        self.counts[kind, key_id] += 1
        if key_id is None and len(self.unreadable) < _NAMED:
            self.unreadable.append(f"{kind}: {where}")

    def of_other_keys(self, current: str) -> int:
        """How many could be put under the current key and are not."""
        return sum(count for (_, key_id), count in self.counts.items() if key_id not in (None, current))
