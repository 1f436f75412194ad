"""Ids in the order of time."""

from __future__ import annotations

import functools
import operator
import time
import uuid
from typing import Any

import pytest

from teknav_ops.errors import UnknownJob
from teknav_ops.jobs.identifiers import checked_id, new_job_id, new_trace_id


def test_a_job_id_is_a_uuid_of_version_7_of_this_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_job_id())
    after = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_later_ids_sort_behind_earlier_ones() -> None:
    first = new_job_id()
    second = first
    while second[:13] == first[:13]:
        second = new_job_id()

    assert second > first


def test_ids_made_in_one_moment_differ() -> None:
    assert len({new_job_id() for _ in range(20_000)}) == 20_000
    assert len({new_trace_id() for _ in range(20_000)}) == 20_000


def test_74_bits_of_a_job_id_are_of_chance() -> None:
    made = [uuid.UUID(new_job_id()).int for _ in range(200)]

    differing = functools.reduce(operator.or_, made) & ~functools.reduce(operator.and_, made)

    assert differing % (1 << 80) == ((1 << 12) - 1) << 64 | (1 << 62) - 1


@pytest.mark.parametrize("job_id", ["a", "a" * 64, "سلام"])
def test_an_id_that_a_job_can_have_is_taken_as_it_is(job_id: str) -> None:
    assert checked_id(job_id) == job_id


@pytest.mark.parametrize(
    ("job_id", "shown"),
    [("", "''"), ("a" * 65, repr("a" * 64)), ("a\nb", r"'a\nb'"), (7, "a int"), (None, "a NoneType")],
)
def test_an_id_that_no_job_can_have_is_refused_and_shown(job_id: Any, shown: str) -> None:
    with pytest.raises(UnknownJob) as refused:
        checked_id(job_id)

    assert str(refused.value) == f"job: no job has the id {shown}"


def test_a_trace_id_has_the_form_that_w3c_asks_for() -> None:
    made = new_trace_id()

    assert len(made) == 32
    assert int(made, 16) > 0
    assert abs(int(made[:8], 16) - time.time()) < 60
