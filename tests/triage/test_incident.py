"""An incident's reach, first failure and causes; and its Markdown, into which nobody's words can break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from teknav_ops.triage.incident import Incident, Reach, plain
from teknav_ops.triage.what_changed import WhatChanged

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
COLUMNS = [
    "queue", "error_type", "fingerprint", "n", "given_up", "jobs", "first_at", "last_at", "example", "first_job_name",
    "first_job_id", "first_attempt", "first_error",
]  # fmt: skip
EVIL = "| a | <img src=x onerror=alert(1)> `` ``` \n# not a heading\n[x](javascript:1) **bold** پیام‌ها"


def incident(*causes: dict[str, Any], moments: int = 0, actions: Any = ()) -> Incident:
    happened = [{"at": NOON, "kind": "operator", "queue": None, "what": f"{EVIL} {n}"} for n in range(moments)]
    until = NOON + timedelta(hours=1)
    return Incident(
        since=NOON, until=until, queues=None, as_of="as of noon", causes=pd.DataFrame(causes, columns=COLUMNS),
        reach=Reach(sum(cause["n"] for cause in causes), 3, 1, 3, ["p", "q"] if causes else [], len(causes), 3),
        changed=WhatChanged(NOON, until, NOON - timedelta(hours=4), (), actions),
        moments=pd.DataFrame(happened, columns=["at", "kind", "queue", "what"]),
    )  # fmt: skip


def cause(minute: int, job: str, n: int = 1, **facts: Any) -> dict[str, Any]:
    at = pd.Timestamp(NOON + timedelta(minutes=minute))
    return {
        "queue": "q", "error_type": "Boom", "fingerprint": f"f-{job}", "n": n, "given_up": n, "jobs": n, "first_at": at,
        "last_at": at, "example": "it broke", "first_job_name": "work", "first_job_id": job, "first_attempt": 1,
        "first_error": "it broke first", **facts,
    }  # fmt: skip


def test_the_reach_is_one_sentence() -> None:
    assert incident(cause(1, "a", n=1_200)).reach.words == (
        "1,200 runs of 3 jobs (3 traces) failed on 2 queues with 1 cause; jobs given up: 3."
    )
    assert incident().reach.words == "No run failed."


def test_the_first_failure_is_the_earliest_whatever_is_most_frequent() -> None:
    seen = incident(cause(9, "late", n=50), cause(1, "first", first_error="the root"), cause(5, "mid"))

    assert seen.first_failure is not None and seen.first_failure["first_job_id"] == "first"
    assert list(seen.beginnings.first_job_id) == ["first", "mid", "late"]
    text = seen.to_markdown()
    assert "First failed run: 12:01:00 UTC, q work `first`, Boom:\n\n```text\nthe root\n```" in text
    assert text.index("f-late") < text.index("f-first")
    assert incident().first_failure is None and "First failed run" not in incident().to_markdown()


def test_actions_are_those_of_what_changed() -> None:
    paused = {"at": NOON, "actor": "sara", "action": "queue.paused", "queue": "q", "job_id": None, "outcome": "done"}
    assert list(incident(actions=[{**paused, "detail": "{}"}]).actions.action) == ["queue.paused"]
    assert list(incident().actions.columns) == list(paused)


def test_words_of_others_stay_words_in_markdown() -> None:
    text = incident(cause(1, "a", first_error=EVIL, example=EVIL, error_type="<b>"), moments=3).to_markdown()
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)

    assert "<img" not in html and "<b>" not in html and 'javascript:1"' not in html and "<strong>" not in html
    assert html.count("<h1>") == 1 and "پیام‌ها" in html
    # One row of causes, whatever pipes an error has.
    assert html.count("<tr>") == 2 and html.count("<td") == 7
    assert "&lt;img src=x onerror=alert(1)&gt; `` ```" in html


def test_an_empty_window_is_told_and_a_long_timeline_is_cut() -> None:
    assert "Nothing that anybody noted." in incident().to_markdown()
    assert "- and 20 more" in incident(moments=120).to_markdown()


@pytest.mark.parametrize(("given", "shown"), [(None, ""), (float("nan"), ""), ("a\n\n b", "a b"), ("a|b", "a\\|b")])
def test_plain(given: Any, shown: str) -> None:
    assert plain(given) == shown
