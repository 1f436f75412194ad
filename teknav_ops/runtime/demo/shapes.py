"""Shapes of load: how many jobs come when, and how many of them cannot succeed."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterator
from typing import Final

#: One in so many ordinary jobs fails, in some way of its own.
_USUAL_FAULTY_SHARE: Final = 1 / 12
_BURST_SECONDS: Final = 15.0
_STORM_SECONDS: Final = 20.0
_STORM_FAULTY_SHARE: Final = 0.7


class Shape(enum.StrEnum):
    """What kind of day it is."""

    STEADY = "steady"
    BURST = "burst"
    STORM = "storm"


@dataclasses.dataclass(frozen=True, slots=True)
class Pulse:
    """After `wait_seconds`, so many jobs at once; in a storm, the faulty ones share one cause."""

    wait_seconds: float
    job_count: int
    faulty_share: float
    is_one_cause: bool = False


def pulses(shape: Shape, rate_per_second: float) -> Iterator[Pulse]:
    """Pulses for ever, of `rate_per_second` jobs on average.

    Steady: one after the other. Burst: quiet, then all at once. Storm: spells in which most jobs fail alike.
    """
    gap_seconds = 1 / rate_per_second
    if shape is Shape.BURST:
        count = max(1, round(rate_per_second * _BURST_SECONDS))
        yield Pulse(0.0, count, _USUAL_FAULTY_SHARE)
        yield from itertools.repeat(Pulse(_BURST_SECONDS, count, _USUAL_FAULTY_SHARE))
    elif shape is Shape.STORM:
        spell = max(1, round(rate_per_second * _STORM_SECONDS))
        for number in itertools.count():
            is_storm = number // spell % 2 == 0
            yield Pulse(gap_seconds, 1, _STORM_FAULTY_SHARE if is_storm else _USUAL_FAULTY_SHARE, is_storm)
    else:
        yield from itertools.repeat(Pulse(gap_seconds, 1, _USUAL_FAULTY_SHARE))
