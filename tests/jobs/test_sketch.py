"""The duration sketch holds its bound against exact quantiles."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from teknav_ops.jobs.sketch import (
    ALPHA,
    RunDurations,
    bucket,
    counts_up_to,
    merge_durations,
    nearest_rank,
    of_few,
    quantile,
)

SHAPES = {
    "lognormal": lambda chance: chance.lognormvariate(4, 1.2),
    "bimodal": lambda chance: chance.choice([5, 900]) * chance.uniform(0.9, 1.1),
    "pareto": lambda chance: 10 * chance.paretovariate(1.3),
    "constant": lambda chance: 42.0,
}


def least_rank(q: float, count: int) -> int:
    """By the definition: the first rank at which at least a share q of all has been seen; in whole numbers."""
    return next(rank for rank in range(1, count + 1) if 100 * rank >= round(100 * q) * count)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_rank_of_a_quantile_is_the_least_that_no_smaller_share_lies_below(q: float) -> None:
    assert [nearest_rank(q, count) for count in range(1, 2_000)] == [least_rank(q, count) for count in range(1, 2_000)]


def test_p95_of_a_few_runs_is_their_slowest_and_never_below_the_average() -> None:
    chance = random.Random(5)
    for count in range(1, 20):
        samples = [chance.lognormvariate(4, 1.2) for _ in range(count)]
        p95 = quantile(Counter(map(bucket, samples)), 0.95)
        assert p95 == pytest.approx(max(samples), rel=ALPHA * 1.0001)
        assert p95 >= sum(samples) / count * (1 - ALPHA)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 19, 20, 21, 26, 64, 100, 132, 1_000, 20_000])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_error_is_at_most_two_per_cent(shape: str, count: int, q: float) -> None:
    chance = random.Random(f"{shape}{count}")
    samples = sorted(SHAPES[shape](chance) for _ in range(count))
    exact = samples[least_rank(q, count) - 1]

    estimate = quantile(Counter(map(bucket, samples)), q)

    assert estimate == pytest.approx(exact, rel=ALPHA * 1.0001)


def test_merged_sketches_count_the_values_of_both() -> None:
    first, second = Counter(map(bucket, [1, 2, 3])), Counter(map(bucket, [100, 200]))
    assert quantile(first + second, 0.5) == pytest.approx(3, rel=ALPHA)
    assert quantile(first + second, 0.61) == pytest.approx(100, rel=ALPHA)


def test_merged_durations_are_all_runs_with_all_their_time() -> None:
    parts = [RunDurations(20.5, {"d0": 2, "d3": 1}), RunDurations(0.0, {}), RunDurations(1.5, {"d3": 4})]

    assert merge_durations(parts) == RunDurations(22.0, {"d0": 2, "d3": 5})
    assert merge_durations([]) == RunDurations(0.0, {}) == RunDurations().part(0.5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_part_of_durations_has_that_share_of_its_runs_and_of_its_time(share: float) -> None:
    counts = {bucket(value): count for value, count in ((0.5, 3), (20.0, 1), (300.0, 7), (4_000.0, 90))}

    part = RunDurations(1_010.0, counts).part(share)

    assert sum(part.buckets.values()) == round(101 * share)
    assert part.sum_ms == pytest.approx(10.0 * round(101 * share))
    assert all(0 < kept <= counts[name] for name, kept in part.buckets.items())
    assert all(abs(part.buckets.get(name, 0) - count * share) <= 1 for name, count in counts.items())


@pytest.mark.parametrize(("runs", "words"), [(0, ""), (1, " of 1"), (19, " of 19"), (20, ""), (5_000, "")])
def test_a_percentile_of_few_runs_says_of_how_many(runs: int, words: str) -> None:
    assert of_few(runs) == words


def test_an_empty_sketch_has_no_quantile_and_one_of_zeros_has_zero() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({bucket(0.0): 5}, 0.99) == 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_up_to_a_bound_are_exact_but_for_what_lies_within_two_per_cent_of_it(shape: str) -> None:
    chance = random.Random(shape)
    samples = [SHAPES[shape](chance) for _ in range(5_000)]
    bounds = [1.0, 10.0, 42.0, 100.0, 900.0, 1e9]

    found = counts_up_to(Counter(map(bucket, samples)), bounds)

    for bound, count in zip(bounds, found, strict=True):
        least = sum(sample <= bound * (1 - 1.01 * ALPHA) for sample in samples)
        assert least <= count <= sum(sample <= bound * (1 + 1.01 * ALPHA) for sample in samples)
    assert found[-1] == 5_000 and counts_up_to({}, bounds) == [0] * 6
