"""What a person reads is what is found: values, whichever way their letters were typed; no field name, no escape."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import redis

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.queries import JobFilter, JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.text_search import search_for
from tests.support.state import QUEUE, State

_PAYLOAD = {
    "subject": 'He said "hello"\tto us',
    "path": r"C:\temp\new",
    "n": 4321,
    "rate": 1.50,
    "is_new": True,
    "none": None,
}


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ('say "hello" now', '"hello"'), (r"C:\temp\new", r"c:\TEMP"), ("one\ntwo\tthree", "one two three"),
        ("كتاب علي", "کتاب علی"), ("کتاب علی", "كتاب علي"), ("می‌شود", "میشود"), ("می شود", "می‌شود"),
        ("کتاب‌ها", "کتاب ها"), ("کتاب ها", "کتاب‌ها"), ("۱۴۰۴ و ٢٥", "1404"), ("۱۴۰۴ و ٢٥", "۲۵"), (1404, "۱۴۰۴"),
        ("cafe\u0301", "CAFÉ"), ("caf\u00e9", "cafe"), ("Straße", "STRASSE"), ("خانۀ ما", "خانه ما"), (1.5, "1.5"),
        (True, "true"), (False, "false"), ("a/b", "A/B"), ({"deep": [{"x": "سلام"}], "next": [1, 2]}, "سلام"),
        ([[1, "first"], [2]], "first"), (math.inf, "infinity"), ("سَلام", "سلام"), ("𝐇𝐞𝐥𝐥𝐨", "hello"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_value_is_found_as_it_is_read(value: Any, asked: str, ensure_ascii: bool) -> None:
    stored = json.dumps({"field": value}, ensure_ascii=ensure_ascii)

    assert search_for(asked).is_in(stored_json=stored)
    assert isinstance(value, str) is search_for(asked).is_in(str(value) if isinstance(value, str) else "other")


@pytest.mark.parametrize(
    "asked",
    ["subject", '"n": 4321', '"path"', r"C:\\temp", r"\tto", "null", "1.50", "hello to", "gAAAAABn", "{"],
)
def test_what_only_the_stored_json_holds_is_not_found(asked: str) -> None:
    assert not search_for(asked).is_in(stored_json=json.dumps({**_PAYLOAD, "key": {"$secret": "gAAAAABn-2"}}))


@pytest.mark.parametrize("stored", ["not JSON at all: hello", "[" * 100_000 + '"hello"', '{"a": "hello"'])
def test_a_damaged_payload_is_looked_through_as_its_text(stored: str) -> None:
    assert search_for("hello").is_in(stored_json=stored) is ("hello" in stored[:4_000])


@pytest.mark.parametrize("asked", ["", " ", "\u200c", "\u0301"])
def test_a_text_that_asks_for_nothing_is_refused_before_it_matches_all(asked: str) -> None:
    for kind in (DeadLetterFilter, JobFilter):
        with pytest.raises(InvalidRequest, match="text: "):
            kind(text=asked)


def test_lists_search_so(client: redis.Redis, queries: JobQueries, dead_letters: DeadLetterQueries) -> None:
    state = State(client)
    dead = state.dead(payload=json.dumps(_PAYLOAD))
    waiting = state.enqueue(payload=json.dumps(_PAYLOAD))

    for asked, is_found in (('"HELLO" to', True), (r"c:\temp", True), ("۴۳۲۱", True), ("subject", False)):
        listed = queries.page(QUEUE, JobState.WAITING, where=JobFilter(text=asked)).items
        letters = dead_letters.page(QUEUE, where=DeadLetterFilter(text=asked)).items
        frozen, _ = dead_letters.failures(QUEUE, DeadLetterFilter(text=asked), limit=10)
        assert [job.id for job in listed] == [waiting] * is_found
        assert [letter.original_job_id for letter in letters] == [dead] * is_found
        assert [failure.job_id for failure in frozen] == [dead] * is_found
