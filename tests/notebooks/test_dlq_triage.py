"""DlqTriageModel on a true system: what it freezes, what it refuses, and what a second click does."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import pytest

from teknav_ops import figures
from teknav_ops.errors import NotAllowed
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.settings import Settings
from teknav_ops.triage.view_models import DlqTriageModel, dlq_triage
from teknav_ops.triage.widgets.dlq_triage import DlqTriage
from teknav_ops.workbench import Workbench
from tests.notebooks.conftest import recorded
from tests.support.dead_letters import make_dead_letters
from tests.support.operators import at_command_line

QUEUE = "webhooks:deliver"


@pytest.fixture
def model(bench: Workbench, client: Any) -> DlqTriageModel:
    make_dead_letters(client, QUEUE, 40)
    return DlqTriageModel(bench, QUEUE, rate_per_second=10_000.0)


def test_a_preview_replays_nothing_and_a_replay_takes_just_what_was_previewed(
    model: DlqTriageModel, bench: Workbench
) -> None:
    model.error_type = "HostUnreachable"
    model.refresh()
    wanted = {letter.original_job_id for letter in model.letters}
    assert len(wanted) == model.total_count == 10

    model.preview_replay()

    assert bench.stats().dlq[QUEUE] == 40
    # The filters change after the preview; the list does not.
    model.error_type = ""
    model.replay()
    assert model.wait(30)
    assert model.status.startswith("Replayed 10 of 10 jobs: 0 completed, 0 failed again, ") and not model.is_wrong
    left = {letter.original_job_id for letter in bench.dead_letters.page(QUEUE, limit=50).items}
    assert len(left) == 30 and not left & wanted
    (entry,) = recorded(bench, "dlq.batch_replayed")
    assert (entry.actor, entry.outcome) == (at_command_line("sara"), "done")


def test_a_deletion_takes_just_what_was_previewed_for_a_reason(model: DlqTriageModel, bench: Workbench) -> None:
    widget = DlqTriage(model)
    model.error_type = "HostUnreachable"
    widget.preview_deletion_button.click()
    assert bench.stats().dlq[QUEUE] == 40 and widget.delete_button.description == "Delete 10 dead letters"
    model.error_type = ""

    widget.delete_button.click()
    assert model.is_wrong and "reason: " in model.status and bench.stats().dlq[QUEUE] == 40
    widget.reason.value = "the host is gone"
    widget.delete_button.click()

    assert model.status == "10 of 10 dead letters deleted." and bench.stats().dlq[QUEUE] == 30
    assert widget.delete_button.disabled
    (entry,) = recorded(bench, "dlq.batch_deleted")
    assert (entry.actor, entry.detail["reason"]) == (at_command_line("sara"), "the host is gone")


def test_of_many_causes_the_most_frequent_are_listed_and_the_rarer_ones_counted(
    model: DlqTriageModel, bench: Workbench, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.hincrby(QueueKeys(QUEUE).dlq_groups, "WebhookFailed|f01", 5)
    monkeypatch.setattr(dlq_triage, "CAUSES_LISTED", 13)

    causes = bench.dead_letter_groups(QUEUE, limit=3)
    model.refresh()
    widget = DlqTriage(model)

    rarer, most_frequent = causes.iloc[0], causes.iloc[1]
    assert (len(causes), causes["count"].sum()) == (4, 45)
    assert (rarer["error_type"], rarer["count"], rarer["example_error"]) == ("(rarer causes)", 37, "37 causes")
    assert (most_frequent["fingerprint"], most_frequent["count"]) == ("f01", 6)
    assert len(figures.cause_bars(causes, as_of="now").data[0].y) == 4
    assert len(bench.dead_letter_groups()) == 40
    assert len(model.groups) == 13 and "and 28 rarer causes" in widget.causes.value
    assert len(widget.error_type.options) == 1 + 4


def test_the_oldest_failures_come_first_if_wished(model: DlqTriageModel) -> None:
    widget = DlqTriage(model)
    assert model.letters[0].original_job_id == "dead-0000039"
    widget.order.value = "oldest"
    assert model.letters[0].original_job_id == "dead-0000000"


def test_clicks_at_the_same_moment_replay_once(model: DlqTriageModel, bench: Workbench) -> None:
    model.limit = 5
    model.preview_replay()
    barrier = threading.Barrier(8)

    def click() -> None:
        barrier.wait()
        model.replay()

    clicks = [threading.Thread(target=click) for _ in range(8)]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()
    assert model.wait(30)
    model.replay()

    assert model.status == "Nothing is previewed: preview first."
    assert bench.stats().dlq[QUEUE] == 35
    assert len(recorded(bench, "dlq.batch_replayed")) == 1


def test_an_emptied_filter_never_comes_to_mean_all(model: DlqTriageModel, bench: Workbench) -> None:
    model.error_type = "HostUnreachable"
    model.preview_replay()
    model.replay()
    assert model.wait(30)

    model.preview_replay()
    model.replay()

    assert model.preview is None and bench.stats().dlq[QUEUE] == 30
    assert model.error_type == "HostUnreachable" and model.total_count == 0


def test_a_slow_replay_is_cancelled_and_what_was_done_stays(model: DlqTriageModel, bench: Workbench) -> None:
    model.rate_per_second = 2.0
    model.preview_replay()
    model.replay()

    model.cancel()

    assert model.wait(30)
    left = bench.stats().dlq[QUEUE]
    assert 0 < left <= 40
    assert model.status.startswith("Stopped after ") and f"{40 - left} of 40" in model.status
    assert len(recorded(bench, "dlq.replay_aborted")) == 1


def test_whoever_opens_it_sees_what_runs_and_can_stop_it_and_what_failed_again(
    model: DlqTriageModel, bench: Workbench, client: Any
) -> None:
    frozen = bench.control.preview_replay(QUEUE, DeadLetterFilter(), limit=3, name="from a kernel that is gone")
    bench.control.start_replay(QUEUE, frozen.id, rate_per_second=1)
    for _ in range(9):
        bench.control.preview_replay(QUEUE, DeadLetterFilter(), limit=1)

    model.refresh()
    assert (model.replays[0].id, model.replays[0].state) == (frozen.id, "running")
    widget = DlqTriage(model)
    assert "from a kernel that is gone" in widget.replays.value and widget.replay.value == frozen.id
    model.stop(frozen.id)
    assert model.status == f"Stopped {frozen.id} after 0 of 3: 0 completed, 0 failed again."
    assert bench.replays.running_of(QUEUE) == []
    model.failed_again_of = frozen.id
    model.refresh()
    assert model.letters == []


def test_a_purge_needs_the_queues_name(model: DlqTriageModel, bench: Workbench) -> None:
    model.purge("webhooks")
    assert model.is_wrong and "type webhooks:deliver" in model.status and bench.stats().dlq[QUEUE] == 40

    model.purge(QUEUE)
    assert model.status == "40 dead letters of webhooks:deliver are deleted." and bench.stats().dlq[QUEUE] == 0


def test_an_unattended_run_changes_nothing_unless_it_was_given_leave(
    settings: Settings, model: DlqTriageModel, bench: Workbench
) -> None:
    unattended = Workbench(settings.model_copy(update={"report_run": True}))
    alone = DlqTriageModel(unattended, QUEUE)
    alone.preview_replay()
    assert alone.is_wrong and "unattended" in alone.status and alone.preview is None
    alone.purge(QUEUE)
    assert bench.stats().dlq[QUEUE] == 40
    with pytest.raises(NotAllowed, match="unattended"):
        _ = unattended.control

    allowed = Workbench(settings.model_copy(update={"report_run": True, "report_allow_replay": True}))
    trusted = DlqTriageModel(allowed, QUEUE, limit=3)
    trusted.preview_replay()
    trusted.replay()
    assert trusted.wait(30) and bench.stats().dlq[QUEUE] == 37
    for opened in (unattended, allowed):
        opened.client.close()
        opened.database.dispose()


def test_any_error_is_told_in_the_status(model: DlqTriageModel) -> None:
    model.inspect("no-such-job")
    assert model.is_wrong and "no-such-job" in model.status
    model.attempt(lambda: [].pop())
    assert model.status == "IndexError: pop from empty list"


def test_what_a_text_matches_is_counted_or_said_to_be_at_most(model: DlqTriageModel) -> None:
    model.text = "number 3"
    model.refresh()

    # 3, and 30 to 39.
    assert (model.total_count, model.is_counted) == (11, True)
    assert {letter.original_job_id for letter in model.letters} == {f"dead-{n:07}" for n in (3, *range(30, 40))}


def test_it_opens_on_the_queue_that_has_most_and_changes_to_another(bench: Workbench, client: Any) -> None:
    make_dead_letters(client, QUEUE, 40)
    make_dead_letters(client, "email:send", 3)
    model = DlqTriageModel(bench)
    assert model.queue == QUEUE and model.queue_counts[QUEUE] == 40

    model.error_type = "HostUnreachable"
    model.preview_replay()
    model.choose_queue("email:send")
    assert (model.queue, model.error_type, model.preview, model.total_count) == ("email:send", "", None, 3)
    assert {letter.original_queue for letter in model.letters} == {"email:send"} and "3 dead letters" in model.status

    model.choose_queue("none")
    assert model.is_wrong and model.queue == "email:send"


def test_its_boxes_follow_the_queue(bench: Workbench, client: Any) -> None:
    from teknav_ops.triage import widgets

    # As in a kernel of its own, where nobody has imported the view's module.
    importlib.reload(widgets)
    make_dead_letters(client, QUEUE, 40)
    make_dead_letters(client, "email:send", 3)
    view = widgets.dlq_triage(bench)
    assert callable(widgets.dlq_triage)
    assert view.queue.value == QUEUE and "(40)" in {name: label for label, name in view.queue.options}[QUEUE]

    view.text.value = "no such text"
    view.queue.value = "email:send"
    assert view.model.queue == "email:send" and view.text.value == "" and len(view.model.letters) == 3
    assert view.confirmation.placeholder == "type email:send to delete all"
    assert view.model.effects in view.effects.value
