"""Did it get slower? Two samples of durations, their p95 ratio with a confidence interval, and a rank test."""

from __future__ import annotations

import dataclasses
import math
from typing import Final, Literal

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.triage.proportions import ErrorRates

try:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
except ModuleNotFoundError as error:
    raise InvalidRequest(f"{error.name} is missing: pip install 'teknav-ops[snapshots]'") from error

Floats = NDArray[np.float64]
Verdict = Literal["slower", "faster", "no difference shown", "too few", "errors moved"]

#: Fewer runs than this on either side say nothing about a p95 that a person should act on.
LEAST_COUNT: Final = 1_000
#: As in the live sketch: below it, durations are one and the same, and a ratio stays finite.
_SMALLEST_MS: Final = 0.1
_DRAWS: Final = 4_000
_SEED: Final = 20_261_124
#: Level at which the whole distribution counts as moved.
_RANK_LEVEL: Final = 0.01
_OF_RUNS: Final[dict[RunOutcome, str]] = {
    "completed": "of the runs that completed",
    "failed": "of the runs that failed",
    "any": "of all runs",
}


@dataclasses.dataclass(frozen=True, slots=True)
class RankTest:
    """Mann-Whitney: `shift` is the chance that a run of the window took longer than one of the baseline (0.5: same)."""

    shift: float
    p_value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Regression:
    """How a quantile of the window compares with the baseline's. Without enough runs, everything else is None.

    The verdict is `errors moved` where all runs were compared and another share of them fails: they are other runs.
    """

    verdict: Verdict
    quantile: float
    baseline_count: int
    window_count: int
    baseline_ms: float | None = None
    window_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    ranks: RankTest | None = None
    #: Of the runs that ended, completed or not; None where the samples came without them.
    error_rates: ErrorRates | None = None
    #: Whose durations were compared.
    outcome: RunOutcome = "completed"

    @property
    def has_distribution_moved(self) -> bool:
        """Whether the whole distribution moved, not only its tail."""
        return self.ranks is not None and self.ranks.p_value < _RANK_LEVEL

    @property
    def words(self) -> str:
        """One line for a person; the error rate first where it moved, since then the durations are of other runs."""
        errors = self.error_rates
        if errors is None or errors.before is None or errors.now is None:
            return self._words
        rates = f"error rate {errors.before:.1%} before, {errors.now:.1%} now"
        if not errors.has_moved:
            return f"{self._words}; {rates}"
        counts = f"n={errors.ended_before:,} and {errors.ended_now:,}"
        return f"errors moved: {rates} ({counts}); {_OF_RUNS[self.outcome]}: {self._words}"

    @property
    def _words(self) -> str:
        counts = f"n={self.baseline_count:,} before, {self.window_count:,} now"
        if self.ratio is None or self.ranks is None:
            return f"{self.verdict}: {counts}"
        moved = f"a run takes longer than one before with probability {self.ranks.shift:.2f}"
        verdict = "" if self.verdict == "errors moved" else f"{self.verdict}: "
        return (
            f"{verdict}p{100 * self.quantile:g} ×{self.ratio:.2f} "
            f"({self.ratio_low:.2f} to {self.ratio_high:.2f}), {counts}; "
            + (f"whole distribution moved, {moved}" if self.has_distribution_moved else "the rest did not move")
        )


def compare(
    baseline_ms: ArrayLike, window_ms: ArrayLike, *, quantile: float = 0.95, confidence: float = 0.95,
    least_count: int = LEAST_COUNT,
) -> Regression:  # fmt: skip
    """Compare a window's durations with a baseline's.

    Slower (or faster) means that the confidence interval of the ratio leaves out 1. Runs are taken as independent:
    bursts make the interval too narrow. The same samples always give the same answer.

    Raises:
        InvalidRequest: a duration is negative or not a number, or a parameter lies outside its range.
    """
    if not 0 < quantile < 1 or not 0 < confidence < 1:
        raise InvalidRequest("quantile, confidence: must lie between 0 and 1")
    before, now = _durations("baseline_ms", baseline_ms), _durations("window_ms", window_ms)
    if min(before.size, now.size) < max(least_count, 2):
        return Regression("too few", quantile, before.size, now.size)
    low, high = ratio_interval(before, now, quantile=quantile, confidence=confidence)
    verdict: Verdict = "slower" if low > 1 else "faster" if high < 1 else "no difference shown"
    at_before, at_now = (_quantile(sample, quantile) for sample in (before, now))
    return Regression(
        verdict, quantile, before.size, now.size, at_before, at_now, at_now / at_before, low, high,
        mann_whitney(before, now),
    )  # fmt: skip


def ratio_interval(
    before: Floats, now: Floats, *, quantile: float = 0.95, confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of `quantile(now) / quantile(before)`, by the bootstrap of an order statistic.

    Resampling is not needed: the k-th of n resampled values is the sample's value at rank U, with U from
    Beta(k, n - k + 1) (Maritz and Jarrett, JASA 73, 1978, "A note on estimating the variance of the sample median").
    """
    random = np.random.default_rng(_SEED)
    ratios = _draws(now, quantile, random) / _draws(before, quantile, random)
    outside = (1 - confidence) / 2
    low, high = np.quantile(ratios, [outside, 1 - outside])
    return float(low), float(high)


def mann_whitney(before: Floats, now: Floats) -> RankTest:
    """Two-sided Mann-Whitney U test in its normal approximation, corrected for ties and for continuity.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), section 4.1.
    """
    count, pairs = before.size + now.size, before.size * now.size
    _, places, ties = np.unique(np.concatenate([before, now]), return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(ties) - (ties - 1) / 2
    u = float(middle_ranks[places[before.size :]].sum() - now.size * (now.size + 1) / 2)
    tied = float((ties.astype(float) ** 3 - ties).sum()) / (count * (count - 1))
    deviation = math.sqrt(pairs / 12 * ((count + 1) - tied))
    if deviation == 0:
        return RankTest(0.5, 1.0)
    z = max(abs(u - pairs / 2) - 0.5, 0.0) / deviation
    return RankTest(u / pairs, math.erfc(z / math.sqrt(2)))


def _durations(name: str, sample: ArrayLike) -> Floats:
    durations = np.asarray(sample, dtype=np.float64).ravel()
    if not np.isfinite(durations).all() or (durations < 0).any():
        raise InvalidRequest(f"{name}: durations must be numbers from 0 up; leave out runs without one")
    return np.maximum(durations, _SMALLEST_MS)


def _quantile(sample: Floats, quantile: float) -> float:
    return float(np.quantile(sample, quantile, method="inverted_cdf"))


def _draws(sample: Floats, quantile: float, random: np.random.Generator) -> Floats:
    rank = math.ceil(quantile * sample.size)
    drawn = random.beta(rank, sample.size - rank + 1, _DRAWS)
    places = np.minimum((drawn * sample.size).astype(np.int64), sample.size - 1)
    return np.sort(sample)[places]
