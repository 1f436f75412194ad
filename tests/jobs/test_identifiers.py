"""Ids in the order of time."""

from __future__ import annotations

import time
import uuid

from teknav_ops.jobs.identifiers import new_job_id, new_trace_id


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


def test_a_trace_id_has_the_form_that_w3c_asks_for() -> None:
    made = new_trace_id()

    assert len(made) == 32
    assert int(made, 16) > 0
    assert abs(int(made[:8], 16) - time.time()) < 60
