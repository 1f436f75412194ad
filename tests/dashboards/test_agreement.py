"""A filter asked in a notebook, on the page, over REST and as a command: the same dead letters, the same count."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from playwright.sync_api import expect

from teknav_ops.triage.view_models import DlqTriageModel
from teknav_ops.workbench import Workbench
from tests.dashboards.conftest import Visit
from tests.support import warm_python
from tests.support.dead_letters import bury
from tests.support.system import TREE, System

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

QUEUE = "webhooks:deliver"


@pytest.fixture(scope="module", autouse=True)
def _buried(system: System) -> None:
    bury(system.services.client, QUEUE, 400)


def listed(system: System, *options: str) -> Any:
    """What `teknav dlq list --json` prints."""
    program = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()"]
    command = [*program, "dlq", "list", QUEUE, "--limit=50", "--json", *options]
    done = warm_python.run(command, cwd=TREE, env=system.environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("chosen", "count", "words"),
    [
        ({"error_type": "WebhookFailed"}, 201, "1–50 of 201"),
        ({"error_type": "HostUnreachable", "fingerprint": "f02"}, 4, "1–4 of 4"),
        ({"text": "number 39"}, 11, "1–11 of 11"),
        ({"text": "no answer"}, None, "1–50"),
    ],
)
def test_all_four_say_the_same(
    system: System, visit: Visit, chosen: dict[str, str], count: int | None, words: str
) -> None:
    model = DlqTriageModel(Workbench(system.settings), QUEUE, **chosen)
    model.refresh()
    ids = [letter.original_job_id for letter in model.letters]
    assert (model.total_count if model.is_counted else None) == count

    told = listed(system, *(f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()))
    visitor = visit()
    names = {"error_type": "type"}
    page = visitor.open(f"/dashboard/owner/queues/{QUEUE}/dlq?" + "&".join(
        f"{names.get(name, name)}={value}" for name, value in chosen.items()))  # fmt: skip
    answer = visitor.context.request.get(f"{system.url}/api/owner/queues/{QUEUE}/dead-letters", params=chosen).json()

    expect(page.get_by_role("navigation", name="Pages")).to_contain_text(words)
    boxes = page.get_by_role("table", name="Dead letters").locator("tbody input[type=checkbox]")
    assert [box.get_attribute("aria-label") for box in boxes.all()] == [f"Select {job_id}" for job_id in ids]
    for found in (told, answer):
        assert [letter["originalJobId"] for letter in found["items"]] == ids
        assert (found["total_count"] if found["is_counted"] else None) == count
