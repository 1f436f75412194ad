"""What HTTP's methods mean here."""

from __future__ import annotations

from typing import Final

#: They only read: whatever becomes of such a request, nothing was changed.
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
