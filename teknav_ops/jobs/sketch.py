"""A mergeable sketch of durations: logarithmic buckets with a relative error of at most 2 %.

Bucket k holds durations in (gamma^(k-1), gamma^k]; merging is adding counts. The same
constants serve writer and reader; a change needs a new field prefix, or merges are silently wrong.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

ALPHA: Final = 0.02
GAMMA: Final = (1 + ALPHA) / (1 - ALPHA)
_INVERSE_LOG_GAMMA: Final = 1 / math.log(GAMMA)
#: Durations below this are one bucket: no queue's slowness hides there.
SMALLEST_MS: Final = 0.1
PREFIX: Final = "b"
#: A percentile of fewer runs is hardly more than the slowest of them; `of_few` says so.
FEW_RUNS: Final = 20
_ZERO: Final = PREFIX + "z"


@dataclasses.dataclass(frozen=True, slots=True)
class RunDurations:
    """How long some runs took: the sum in ms, and the sketch (bucket field -> how many runs)."""

    sum_ms: float = 0.0
    buckets: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many runs these are."""
        return sum(self.buckets.values())

    @property
    def mean_ms(self) -> float | None:
        """How long one took on average; None without runs."""
        return self.sum_ms / self.count if self.buckets else None

    def percentile_ms(self, q: float) -> float | None:
        """The q-quantile, with a relative error of at most 2 %; None without runs."""
        return quantile(self.buckets, q)

    def part(self, share: float) -> RunDurations:
        """A share of the runs, with the distribution and the mean of all: in their order, rounded as they add up."""
        found: dict[str, int] = {}
        seen = 0
        for _, field, count in sorted((_index(field), field, count) for field, count in self.buckets.items()):
            kept = round((seen + count) * share) - round(seen * share)
            seen += count
            if kept:
                found[field] = kept
        return RunDurations(self.sum_ms * sum(found.values()) / seen if seen else 0.0, found)


def merge_durations(parts: Iterable[RunDurations]) -> RunDurations:
    """Several as one."""
    total_ms, buckets = 0.0, Counter[str]()
    for part in parts:
        total_ms += part.sum_ms
        buckets.update(part.buckets)
    return RunDurations(total_ms, dict(buckets))


def bucket(duration_ms: float) -> str:
    """The field that counts this duration."""
    if duration_ms < SMALLEST_MS:
        return _ZERO
    return f"{PREFIX}{math.ceil(math.log(duration_ms) * _INVERSE_LOG_GAMMA)}"


def nearest_rank(q: float, count: int) -> int:
    """Which of `count` ascending values is their q-quantile, from 1: the least that is not below a share q of them."""
    # Rounded, since 0.95 × 140 may come out a little above 133.
    return max(1, math.ceil(round(q * count, 6)))


def of_few(runs: float) -> str:
    """What follows a percentile wherever people see it: ` of 12` where it is of so few runs, else nothing."""
    return f" of {runs:.0f}" if 0 < runs < FEW_RUNS else ""


def quantile(counts: Mapping[str, int], q: float) -> float | None:
    """The q-quantile in ms of the merged counts (bucket field -> count), by nearest rank; None without samples."""
    ordered = sorted((_index(field), count) for field, count in counts.items() if count > 0)
    total = sum(count for _, count in ordered)
    if not total:
        return None
    rank = nearest_rank(q, total)
    seen = 0
    for index, count in ordered:
        seen += count
        if seen >= rank:
            return _middle(index)
    raise AssertionError("the ranks of a sketch add up to its total")


def counts_up_to(counts: Mapping[str, int], bounds_ms: Sequence[float]) -> list[int]:
    """How many durations are at most as long as each of the ascending bounds, within the sketch's error of it."""
    ordered = sorted((_middle(_index(field)), count) for field, count in counts.items() if count > 0)
    found, seen, place = [], 0, 0
    for bound in bounds_ms:
        while place < len(ordered) and ordered[place][0] <= bound:
            seen += ordered[place][1]
            place += 1
        found.append(seen)
    return found


def _middle(index: float) -> float:
    return 0.0 if index == -math.inf else 2 * GAMMA**index / (GAMMA + 1)


def _index(field: str) -> float:
    return -math.inf if field == _ZERO else int(field.removeprefix(PREFIX))
