"""What a check of `teknav doctor` found."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen, and what to do if not."""

    check: str
    is_well: bool
    seen: str
    remedy: str = ""
