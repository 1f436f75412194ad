"""An incident's reach, first failure and causes; and its Markdown, into which nobody's words can break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from teknav_ops.triage.incident import Incident, plain
from teknav_ops.triage.what_changed import WhatChanged

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
COLUMNS = ["at", "queue", "job_name", "job_id", "attempt", "action", "error_type", "fingerprint", "error", "trace_id"]
EVIL = "| a | <img src=x onerror=alert(1)> `` ``` \n# not a heading\n[x](javascript:1) **bold** پیام‌ها"


def incident(*failures: dict[str, Any], moments: int = 0) -> Incident:
    newest_first = pd.DataFrame(sorted(failures, key=lambda row: row["at"], reverse=True), columns=COLUMNS)
    happened = [{"at": NOON, "kind": "operator", "queue": None, "what": f"{EVIL} {n}"} for n in range(moments)]
    until = NOON + timedelta(hours=1)
    return Incident(
        since=NOON, until=until, queues=None, as_of="as of noon", failures=newest_first, is_cut=False,
        changed=WhatChanged(NOON, until, NOON - timedelta(hours=4), (), ()),
        moments=pd.DataFrame(happened, columns=["at", "kind", "queue", "what"]),
        actions=pd.DataFrame(columns=["at", "actor", "action", "queue", "outcome"]),
    )  # fmt: skip


def failure(minute: int, job: str, action: str = "job.failed", **facts: Any) -> dict[str, Any]:
    return {
        "at": pd.Timestamp(NOON + timedelta(minutes=minute)), "queue": "q", "job_name": "work", "job_id": job,
        "attempt": 1, "action": action, "error_type": "Boom", "fingerprint": "f1", "error": "it broke", "trace_id": job,
        **facts,
    }  # fmt: skip


def test_reach_counts_runs_jobs_queues_and_causes() -> None:
    found = incident(
        failure(1, "a", "job.retried"), failure(2, "a"), failure(3, "b", queue="p", fingerprint="f2"), failure(4, "c")
    ).reach

    assert (found.failed_run_count, found.given_up_count, found.retried_count, found.job_count) == (4, 3, 1, 3)
    assert (list(found.queues), found.cause_count, found.trace_count) == (["p", "q"], 2, 3)
    assert incident().reach.words == "No run failed."


def test_the_first_failure_is_the_earliest_and_causes_come_by_frequency() -> None:
    seen = incident(failure(9, "late"), failure(1, "first", fingerprint="f2", error="the root"), failure(5, "mid"))

    assert seen.first_failure is not None and seen.first_failure["job_id"] == "first"
    causes = seen.causes()
    assert list(causes.fingerprint) == ["f1", "f2"] and list(causes.n) == [2, 1]
    assert incident().first_failure is None and incident().causes().empty


def test_words_of_others_stay_words_in_markdown() -> None:
    text = incident(failure(1, "a", error=EVIL, error_type="<b>"), moments=3).to_markdown()
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
