"""Error rates of two periods: which share of the runs that ended failed, before and now, and did that move?"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

#: Counts must differ by so many standard errors; jobs come in bursts, so the usual two or three are too few.
LEAST_Z: Final = 5.0
#: Changes smaller than this are not worth a line: a quarter more or a fifth less.
LEAST_DOUBLINGS: Final = math.log2(1.25)
_HALF: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorRates:
    """Runs that ended in each period, and those of them that failed, for good or to be retried."""

    failed_before: int
    ended_before: int
    failed_now: int
    ended_now: int

    @property
    def before(self) -> float | None:
        """The share before; None where no run ended."""
        return self.failed_before / self.ended_before if self.ended_before else None

    @property
    def now(self) -> float | None:
        """The share now; None where no run ended."""
        return self.failed_now / self.ended_now if self.ended_now else None

    @property
    def doublings(self) -> float:
        """How many times the share doubled or halved, or that of the runs that did not fail, whichever is more: from 80
        to 95 % a quarter is left of these. Half a run is added so that none stays finite.
        """
        longer = (self.ended_before + 1) / (self.ended_now + 1)
        failed = longer * (self.failed_now + _HALF) / (self.failed_before + _HALF)
        rest_before, rest_now = self.ended_before - self.failed_before, self.ended_now - self.failed_now
        return max(abs(math.log2(failed)), abs(math.log2(longer * (rest_now + _HALF) / (rest_before + _HALF))))

    @property
    def has_moved(self) -> bool:
        """Two proportions with their pooled standard error (Fleiss, Statistical Methods for Rates, section 3.1)."""
        if self.before is None or self.now is None or self.doublings < LEAST_DOUBLINGS:
            return False
        pooled = (self.failed_before + self.failed_now) / (self.ended_before + self.ended_now)
        error = math.sqrt(pooled * (1 - pooled) * (1 / self.ended_before + 1 / self.ended_now))
        return error > 0 and abs(self.now - self.before) >= LEAST_Z * error
