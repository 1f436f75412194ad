"""JobExplorerModel on a true system: what it finds, what it may do, and that it does it once and by name."""

from __future__ import annotations

from typing import Any

import pytest

from teknav_ops.access.policy import Operator, Role
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.settings import Settings
from teknav_ops.triage.view_models import JobExplorerModel
from teknav_ops.workbench import Workbench
from tests.conftest import SECRET_KEY
from tests.notebooks.conftest import recorded
from tests.support.dead_letters import make_dead_letters
from tests.support.operators import at_command_line

QUEUE = "webhooks:deliver"


@pytest.fixture
def model(bench: Workbench, client: Any) -> JobExplorerModel:
    make_dead_letters(client, QUEUE, 45)
    made = JobExplorerModel(bench, queue=QUEUE)
    made.refresh()
    return made


@pytest.fixture
def producer(client: Any) -> Producer:
    return Producer(client, cipher=Cipher([SECRET_KEY]), timeout_seconds=2, actor=Operator("platform", Role.OWNER).name)


def test_pages_follow_each_other_and_a_filter_begins_anew(model: JobExplorerModel) -> None:
    assert len(model.rows) == 20 and model.total_count == 45 and not model.is_wrong
    first = [row.id for row in model.rows]
    model.next_page()
    model.next_page()
    assert len(model.rows) == 5 and model.next_cursor is None and not set(first) & {row.id for row in model.rows}
    model.next_page()
    assert len(model.rows) == 5

    model.param.update(cursor=None, text="۴۴")
    model.refresh()
    assert [row.id for row in model.rows] == ["dead-0000044"]


def test_a_list_is_sorted_both_ways_where_its_state_has_two(model: JobExplorerModel, bench: Workbench) -> None:
    from teknav_ops.triage.widgets.job_explorer import JobExplorer

    view = JobExplorer(model, bench.topology)
    view.order.value = "oldest"
    assert [row.id for row in model.rows][:2] == ["dead-0000000", "dead-0000001"] and not model.is_wrong
    model.next_page()
    assert model.rows[0].id == "dead-0000020"
    view.order.value = "newest"
    assert model.rows[0].id == "dead-0000044" and model.cursor is None

    view.state.value = "waiting"
    assert view.order.disabled and model.rows == [] and not model.is_wrong


def test_a_job_is_found_by_its_id_or_its_trace_from_any_queue(model: JobExplorerModel) -> None:
    model.search = " dead-0000009 "
    model.refresh()
    assert model.opened is not None and model.opened.id == "dead-0000009" and "payload" not in model.status
    assert [row.id for row in model.rows] == ["dead-0000009"] and model.actions == ("retry",)

    model.search = "no-such-job"
    model.refresh()
    assert model.rows == [] and model.opened is None and "Nothing is known of" in model.status

    model.search = "not an id!"
    model.refresh()
    assert model.is_wrong and model.status.startswith("job: give a job id or a trace id")


def test_an_action_is_done_once_after_its_confirmation_and_recorded_by_name(
    model: JobExplorerModel, bench: Workbench
) -> None:
    model.confirm()
    assert model.status == "Nothing waits for a confirmation."
    model.open("dead-0000043")
    model.ask("cancel")
    assert "cannot do that" in model.status and not model.asked

    model.ask("retry")
    assert model.asked == "retry" and "with the same webhook-id" in model.status
    assert bench.jobs.get(QUEUE, "dead-0000043").state is JobState.FAILED
    for _ in range(3):
        model.confirm()

    assert bench.jobs.get(QUEUE, "dead-0000043").state is JobState.WAITING
    assert model.opened.state is JobState.WAITING and model.actions == ("cancel",)
    (entry,) = recorded(bench, "dlq.replayed")
    assert (entry.actor, entry.job_id) == (at_command_line("sara"), "dead-0000043")


def test_another_job_that_is_opened_takes_the_question_back(model: JobExplorerModel, bench: Workbench) -> None:
    model.open("dead-0000043")
    model.ask("retry")
    assert model.asked == "retry"
    model.open("dead-0000044")
    model.confirm()
    assert {bench.jobs.get(QUEUE, f"dead-00000{n}").state for n in (43, 44)} == {JobState.FAILED}


def test_delayed_jobs_are_run_now_and_waiting_ones_cancelled(
    model: JobExplorerModel, bench: Workbench, producer: Producer
) -> None:
    later = producer.enqueue("media:optimize", "optimize-image", {"file_id": 1}, delay=9_000).job_id
    model.param.update(queue="media:optimize", state="delayed", cursor=None)
    model.refresh()
    model.open(later)
    model.ask("promote")
    model.confirm()
    assert bench.jobs.get("media:optimize", later).state is JobState.WAITING
    model.ask("cancel")
    model.confirm()
    assert bench.jobs.get("media:optimize", later).state is JobState.CANCELLED
    model.ask("run_again")
    model.confirm()
    (again,) = bench.jobs.page("media:optimize", JobState.WAITING).items
    assert again.run_again_of == later and again.id in model.status


def test_an_unattended_run_may_look_and_not_act(settings: Settings, client: Any) -> None:
    make_dead_letters(client, QUEUE, 3)
    bench = Workbench(settings.model_copy(update={"report_run": True}))
    model = JobExplorerModel(bench, queue=QUEUE)
    model.refresh()
    model.open("dead-0000001")
    model.ask("retry")
    model.confirm()

    assert model.is_wrong and "unattended run" in model.status
    assert bench.jobs.get(QUEUE, "dead-0000001").state is JobState.FAILED
    bench.client.close()
    bench.database.dispose()


def test_a_job_that_is_not_on_the_page_is_not_opened(model: JobExplorerModel) -> None:
    model.open("elsewhere")
    assert model.is_wrong and "is not on this page" in model.status


def test_its_boxes_show_the_queue_of_the_job_that_was_found(
    model: JobExplorerModel, bench: Workbench, producer: Producer
) -> None:
    from teknav_ops.triage.widgets.job_explorer import JobExplorer

    view = JobExplorer(model, bench.topology)
    later = producer.enqueue("media:optimize", "optimize-image", {"file_id": 1}, delay=9_000).job_id
    view.job_name.value = next(value for _, value in view.job_name.options if value)
    view.search.value = later

    assert model.opened.id == later and model.queue == view.queue.value == "media:optimize"
    assert "optimize-image" in [value for _, value in view.job_name.options] and view.job_name.value == ""
    # And its state: `failed` stood beside a job that is delayed.
    assert (model.state, view.state.value, view.search.value) == ("delayed", "delayed", later)
    assert [row.id for row in model.rows] == [later]
