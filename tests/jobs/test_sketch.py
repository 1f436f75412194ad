"""The duration sketch holds its bound against exact quantiles."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from teknav_ops.jobs.sketch import ALPHA, bucket, counts_up_to, quantile

SHAPES = {
    "lognormal": lambda chance: chance.lognormvariate(4, 1.2),
    "bimodal": lambda chance: chance.choice([5, 900]) * chance.uniform(0.9, 1.1),
    "pareto": lambda chance: 10 * chance.paretovariate(1.3),
    "constant": lambda chance: 42.0,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [100, 1_000, 20_000])
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_error_is_at_most_two_per_cent(shape: str, count: int, q: float) -> None:
    chance = random.Random(f"{shape}{count}")
    samples = sorted(SHAPES[shape](chance) for _ in range(count))
    exact = samples[math.floor(q * (count - 1))]

    estimate = quantile(Counter(map(bucket, samples)), q)

    assert estimate == pytest.approx(exact, rel=ALPHA * 1.0001)


def test_merged_sketches_count_the_values_of_both() -> None:
    first, second = Counter(map(bucket, [1, 2, 3])), Counter(map(bucket, [100, 200]))
    assert quantile(first + second, 0.5) == pytest.approx(3, rel=ALPHA)


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
