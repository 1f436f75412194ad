"""p95 ratios against simulations, and the rank test against scipy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.regression import Regression, compare, mann_whitney, ratio_interval

Random = np.random.Generator
Floats = np.ndarray


def durations(random: Random, count: int) -> Floats:
    return random.lognormal(4.0, 0.8, count)


def slower(random: Random, count: int) -> Floats:
    return 1.2 * durations(random, count)


def slow_tail(random: Random, count: int) -> Floats:
    """One run in twelve takes three times as long."""
    return durations(random, count) * np.where(random.random(count) < 0.08, 3.0, 1.0)


def share(makes: Callable[[Random, int], Floats], count: int, found: Callable[[Regression], bool]) -> float:
    trials = 100
    random = np.random.default_rng(11)
    return sum(found(compare(durations(random, count), makes(random, count))) for _ in range(trials)) / trials


def test_false_alarms_are_rare() -> None:
    assert share(durations, 1_000, lambda result: result.verdict != "no difference shown") <= 0.05


def test_a_slowdown_of_a_fifth_is_found_with_enough_runs_and_a_slow_tail_too() -> None:
    assert share(slower, 5_000, lambda result: result.verdict == "slower") > 0.9
    assert share(slow_tail, 5_000, lambda result: result.verdict == "slower") > 0.9
    assert share(slower, 1_000, lambda result: result.verdict == "slower") > 0.3


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    random, trials = np.random.default_rng(5), 300
    held = 0
    for _ in range(trials):
        low, high = ratio_interval(durations(random, 1_500), 1.3 * durations(random, 1_500), confidence=0.9)
        held += low <= 1.3 <= high

    assert held / trials > 0.87


def test_the_interval_is_that_of_resampling() -> None:
    random = np.random.default_rng(3)
    before, now = durations(random, 2_000), slower(random, 2_000)

    def p95(sample: Floats) -> float:
        return float(np.quantile(sample, 0.95, method="inverted_cdf"))

    ratios = [p95(random.choice(now, now.size)) / p95(random.choice(before, before.size)) for _ in range(2_000)]

    assert ratio_interval(before, now) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), rel=0.03)


@pytest.mark.parametrize("decimals", [6, 0, -2])
def test_the_rank_test_is_scipys_ties_included(decimals: int) -> None:
    # A second's worth of imports, for one test.
    from scipy import stats

    random = np.random.default_rng(2)
    before, now = (np.round(sample, decimals) for sample in (durations(random, 700), 1.1 * durations(random, 900)))

    ours, theirs = mann_whitney(before, now), stats.mannwhitneyu(now, before, method="asymptotic")

    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.shift == pytest.approx(theirs.statistic / (700 * 900))


def test_a_whole_distribution_that_moved_is_told_from_a_tail_that_did() -> None:
    random = np.random.default_rng(1)
    before = durations(random, 5_000)

    moved, tail = compare(before, slower(random, 5_000)), compare(before, slow_tail(random, 5_000))

    assert moved.has_distribution_moved and "whole distribution moved" in moved.words
    assert tail.verdict == "slower" and tail.words.startswith("slower: p95 ×1.")
    assert tail.ratio is not None and tail.ratio_low is not None and tail.ratio_high is not None
    assert tail.ratio_low < tail.ratio < tail.ratio_high


def test_faster_is_faster_and_the_same_is_the_same() -> None:
    random = np.random.default_rng(4)
    sample = durations(random, 3_000)

    assert compare(sample, sample / 2).verdict == "faster"
    same = compare(sample, sample)
    assert (same.verdict, same.ratio) == ("no difference shown", 1.0)
    assert same == compare(sample, sample)


def test_below_a_thousand_runs_it_says_too_few() -> None:
    few = compare([1.0] * 999, [500.0] * 5_000)

    assert (few.verdict, few.ratio, few.ranks) == ("too few", None, None)
    assert few.words == "too few: n=999 before, 5,000 now"
    assert compare([1.0] * 999, [500.0] * 5_000, least_count=999).verdict == "slower"
    assert compare([], []).verdict == "too few"


def test_durations_of_nothing_and_all_alike_give_finite_answers() -> None:
    result = compare([0.0] * 1_000, [0.0] * 1_000)

    assert (result.verdict, result.ratio) == ("no difference shown", 1.0)
    assert result.ranks is not None and result.ranks.p_value == 1.0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
def test_durations_that_are_none_are_refused(wrong: float) -> None:
    with pytest.raises(InvalidRequest, match="window_ms: durations must be numbers"):
        compare([1.0] * 1_000, [1.0] * 999 + [wrong])
    with pytest.raises(InvalidRequest, match="quantile"):
        compare([1.0], [1.0], quantile=95)
