"""A filter asked in a notebook, on the page, over REST and as a command: the same dead letters, the same count."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import expect

from dashboards.page import ROOT
from teknav_ops.triage.view_models import DlqTriageModel
from teknav_ops.workbench import Workbench
from tests.dashboards.addresses import page_at
from tests.dashboards.conftest import Visit
from tests.dashboards.jobs import empty
from tests.support import warm_python
from tests.support.dead_letters import make_dead_letters
from tests.support.system import TREE, System

pytestmark = pytest.mark.timeout(300)

QUEUE = "webhooks:deliver"


@pytest.fixture(scope="module", autouse=True)
def _dead_letters(system: System) -> None:
    empty(system, QUEUE)
    # As many as one look takes: of more, how many were counted would hang on the time that a second one took.
    make_dead_letters(system.services.client, QUEUE, 240)


@pytest.fixture(scope="module")
def bench(system: System) -> Iterator[Workbench]:
    made = Workbench(system.settings)
    yield made
    made.client.close()


def by_command(system: System, chosen: dict[str, str]) -> Any:
    """What `teknav dlq list --json` prints."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
    program = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()"]
    command = [*program, "dlq", "list", QUEUE, "--limit=50", "--json", *options]
    done = warm_python.run(command, cwd=TREE, env=system.environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def by_rest(system: System, chosen: dict[str, str]) -> Any:
    path = f"{system.url}/api/owner/queues/{QUEUE}/dead-letters"
    return httpx.get(path, params=chosen, cookies=system.sign_in("owner"), timeout=20).json()


def on_page(chosen: dict[str, str]) -> str:
    """The page's address; it has a shorter word for the error's type."""
    return f"{ROOT}/queues/{QUEUE}/dlq?" + urlencode({name.removeprefix("error_"): v for name, v in chosen.items()})


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"error_type": "WebhookFailed"}, 121),
        ({"error_type": "HostUnreachable", "fingerprint": "f02"}, 3),
        ({"text": "number 23"}, 11),
        ({"text": "no answer"}, None),
    ],
)
def test_all_four_say_the_same(system: System, bench: Workbench, chosen: dict[str, str], count: int | None) -> None:
    model = DlqTriageModel(bench, QUEUE, **chosen)
    model.refresh()
    ids = [letter.original_job_id for letter in model.letters]
    assert (model.total_count if model.is_counted else None) == count

    shown = page_at(system, on_page(chosen)).load()

    assert [letter["id"] for letter in shown["letters"]] == ids and shown["total"] == count
    for found in (by_command(system, chosen), by_rest(system, chosen)):
        assert [letter["originalJobId"] for letter in found["items"]] == ids
        assert (found["total_count"] if found["is_counted"] else None) == count


@pytest.mark.parametrize(
    ("chosen", "words"), [({"error_type": "WebhookFailed"}, "1–50 of 121"), ({"text": "no answer"}, "1–50")]
)
def test_the_page_says_how_many_there_are_and_lists_them(
    system: System, visit: Visit, chosen: dict[str, str], words: str
) -> None:
    ids = [letter["id"] for letter in page_at(system, on_page(chosen)).load()["letters"]]
    page = visit().open(on_page(chosen))

    expect(page.get_by_role("navigation", name="Pages")).to_contain_text(words)
    boxes = page.get_by_role("table", name="Dead letters").locator("tbody input[type=checkbox]")
    labels = boxes.evaluate_all("boxes => boxes.map(box => box.getAttribute('aria-label'))")
    assert labels == [f"Select {job_id}" for job_id in ids] and len(ids) == 50
