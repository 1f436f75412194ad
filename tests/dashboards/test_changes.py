"""What an open page is told: what changed, and no more."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bokeh.document import Document
from hypothesis import given
from hypothesis import strategies as st

from dashboards.changes import change
from dashboards.open_page import OpenPage
from dashboards.page import ROOT
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Run, ScriptRunner
from tests.dashboards.addresses import page_at
from tests.dashboards.jobs import PLATFORM, empty
from tests.dashboards.opened import Opened, applied
from tests.support.system import System
from tests.support.waiting import until

#: What a page may be sent in a second in which ten jobs ended.
_BYTES_PER_SECOND = 5_000
QUEUE = "email:send"

LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "id", "v"])
ROWS = st.fixed_dictionaries({"id": st.sampled_from("abcdef")}, optional={"n": LEAVES, "v": LEAVES})
JSON = st.recursive(
    LEAVES | st.lists(ROWS, max_size=6, unique_by=lambda row: row["id"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("vdlxn"), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_a_change_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    changed = change(old, new)
    assert json.dumps(new if changed is None else applied(old, changed), sort_keys=True) == json.dumps(
        new, sort_keys=True
    )
    assert change(new, json.loads(json.dumps(new))) is None


def test_rows_that_moved_are_not_sent_again() -> None:
    old = {"jobs": [{"id": str(number), "text": "long " * 50} for number in range(50)]}
    new = {
        "jobs": [{"id": "new", "text": "x"}, *old["jobs"][:20], {**old["jobs"][20], "text": "y"}, *old["jobs"][21:49]]
    }

    changed = change(old, new)

    assert changed == {
        "d": {"jobs": {"l": [{"v": {"id": "new", "text": "x"}}, [0, 20], [20, {"d": {"text": {"v": "y"}}}], [21, 28]]}}
    }


def finish(system: System, count: int) -> None:
    """Let so many jobs of the queue complete."""
    producer, keys = system.services.producer(PLATFORM), QueueKeys(QUEUE)
    for number in range(count):
        mail = {
            "to": f"reader{number}@example.com",
            "subject": "گزارش هفتگی تک‌نو",
            "text": "متن " * random.randint(20, 90),
        }
        producer.enqueue(QUEUE, "send-email", mail)
    runner = ScriptRunner(system.services.client)
    limits = {"global_concurrency": 0, "rate_count": 0, "rate_period_ms": 0}
    fetched = runner.run(scripts.fetch(keys, count=count, lease_ms=60_000, worker="w:1", **limits))
    runs = [(Run(each.id, each.delivery, 1_700_000_000_000, 5.0, "b41"), '{"sent": 1}') for each in fetched.deliveries]
    runner.run(scripts.complete(keys, worker="w:1", completed_kept=1_000, wakes=False, runs=runs))


def test_a_page_of_a_queue_that_ends_ten_jobs_a_second_is_sent_five_kilobytes_a_second(system: System) -> None:
    empty(system, QUEUE)
    finish(system, 60)
    document, looked = Document(), page_at(system, f"{ROOT}/queues/{QUEUE}?state=completed")
    with ThreadPoolExecutor(1) as threads:
        page = OpenPage(
            looked, document, threads,
            current_identity=lambda: looked.visit.identity, note_use=lambda: None,
        )  # fmt: skip
        opened = Opened(page, document, page.face)
        opened.send(action="hello", args={})
        until(lambda: len(opened.state().get("list", {}).get("jobs", ())) == 50, what="the list")
        assert opened.sent() > 0

        for second in range(1, 4):
            finish(system, 10)
            page.refresh(is_asked=True)
            until(lambda: opened.state()["list"]["total"] == 60 + 10 * second, what="the ten that ended")  # noqa: B023
            assert opened.sent() < _BYTES_PER_SECOND
        page.close()
