"""Actions whose process died are closed, and the trail says what became of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis
from sqlalchemy import func, insert, select

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit import open_actions
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.entries import OUTCOMES
from teknav_ops.audit.lag import AuditLag
from teknav_ops.audit.open_actions import OpenActions, going_on
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.control import Control
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import connect
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditActionBeat, AuditLog
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.state import QUEUE, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until
from tests.support.warm_python import ROOT

#: By what an operator asks for, the entry it leaves.
ACTIONS = {
    "pause": "queue.paused",
    "configure": "queue.configured",
    "promote": "job.promoted",
    "cancel": "job.cancelled",
    "replay": "dlq.replayed",
    "delete": "dlq.deleted",
    "run_again": "job.run_again",
}


class Time:
    """The watcher's clock."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def watcher(database: Database, time: Time, lag: Callable[[], Mapping[str, AuditLag | None]] = dict) -> OpenActions:
    return OpenActions(database, lag, clock=time)


def close_all(watch: OpenActions, time: Time) -> None:
    watch.step()
    time.now += open_actions.SILENT_SECONDS
    watch.step()


def entries(database: Database) -> dict[str, AuditLog]:
    with database.session() as session:
        return {row.action: row for row in session.scalars(select(AuditLog).where(AuditLog.outcome.is_not(None)))}


def control_of(client: Any, database: Database) -> Control:
    operator = Operator("sara", Role.OWNER)
    return Control(client, operator, OperatorLog(database), cipher=Cipher([]), topology=TOPOLOGY)


def act_and_die(url: str, sql_url: str, name: str, job_id: str, moment: str) -> None:
    """Die on the line before the script that carries the action out, or on the line after."""
    control = control_of(connect(url, timeout_seconds=5), Database.open(sql_url))
    run = control._runner.run

    def die(call: Any) -> None:
        if moment == "after":
            run(call)
        os.kill(os.getpid(), signal.SIGKILL)

    control._runner.run = die  # type: ignore[assignment,method-assign]
    control._runner.run_many = die  # type: ignore[assignment,method-assign]
    options = {"configure": {"concurrency": 3}}.get(name, {})
    getattr(control, name)(QUEUE, *([job_id] if job_id else []), **options)


@pytest.mark.each_database
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_action_whose_process_was_killed_is_closed_with_what_became_of_it(
    client: redis.Redis, redis_server: RedisServer, database: Database, database_url: str, moment: str
) -> None:
    state = State(client)
    completed = state.enqueue()
    state.complete(*state.fetch())
    jobs = {
        "promote": state.enqueue(delay_ms=60_000),
        "replay": state.dead(),
        "delete": state.dead(),
        "run_again": completed,
        "cancel": state.enqueue(),
    }
    tried = ACTIONS if moment == "after" else {name: ACTIONS[name] for name in ("pause", "cancel", "run_again")}
    for name in tried:
        process = warm_python.start_function(
            act_and_die, redis_server.url, database_url, name, jobs.get(name, ""), moment
        )
        assert process.wait(30) == -signal.SIGKILL
    assert {row.outcome for row in entries(database).values()} == {"requested"}
    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    close_all(watcher(database, Time()), Time())
    assert {row.outcome for row in entries(database).values()} == {"requested"}, "not before they were silent for long"
    time = Time()
    close_all(watcher(database, time), time)

    found = entries(database)
    assert set(found) == set(tried.values())
    assert {action: row.outcome for action, row in found.items()} == dict.fromkeys(
        found, "done" if moment == "after" else "interrupted"
    )
    for row in found.values():
        says = "what it did is entry " if moment == "after" else "it changed nothing"
        assert says in row.detail["closed"], row.detail  # type: ignore[index]
    if moment == "after":
        assert found["queue.configured"].detail["concurrency"] == "3"  # type: ignore[index]


@pytest.mark.each_database
def test_what_may_be_from_another_request_is_not_told_as_done(client: redis.Redis, database: Database) -> None:
    log = OperatorLog(database)
    lost = log._begin({"action": "queue.paused", "actor": "sara", "queue": QUEUE}, {})
    control_of(client, database).pause(QUEUE)
    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]
    time = Time()

    close_all(watcher(database, time), time)

    with database.session() as session:
        row = session.get_one(AuditLog, lost)
        assert (row.outcome, "asked for again" in row.detail["closed"]) == ("interrupted", True)  # type: ignore[index]


@pytest.mark.parametrize(
    ("action", "outcome", "says"),
    [
        ("dlq.purged", "interrupted", "each job stands in"),
        ("dlq.batch_deleted", "interrupted", "each job stands in"),
        ("dlq.batch_replayed", "done", "had happened before"),
        ("user.added", "interrupted", "shows only in what it is about"),
    ],
)
def test_what_no_single_script_does_is_closed_with_where_to_look(
    database: Database, action: str, outcome: str, says: str
) -> None:
    OperatorLog(database)._begin({"action": action, "actor": "sara"}, {"kept": 1})
    time = Time()

    close_all(watcher(database, time), time)

    row = entries(database)[action]
    assert (row.outcome, says in row.detail["closed"], row.detail["kept"]) == (outcome, True, 1)  # type: ignore[index]


@pytest.mark.each_database
def test_an_action_that_goes_on_is_left_alone_and_its_beats_go_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_actions, "BEAT_SECONDS", 0.01)
    time = Time()
    watch = watcher(database, time)

    def beats() -> int:
        with database.reading() as session:
            return session.scalar(select(func.max(AuditActionBeat.beat))) or 0

    with OperatorLog(database).record("keys.reencrypted", actor="sara"):
        for _ in range(3):
            watch.step()
            before = beats()
            until(lambda before=before: beats() > before, what="a beat")  # type: ignore[misc]
            time.now += open_actions.SILENT_SECONDS
            watch.step()
            assert entries(database)["keys.reencrypted"].outcome == "requested"
    close_all(watch, time)

    row = entries(database)["keys.reencrypted"]
    assert (row.outcome, row.detail) == ("done", {})
    until(lambda: watch.step() or beats() == 0, what="the beats' end")


@pytest.mark.each_database
def test_a_process_that_comes_back_tells_its_end_in_an_entry_of_its_own(database: Database) -> None:
    time = Time()
    sealer = AuditSealer(database, LinkKeys([b"k" * 32]), every_seconds=0)
    with OperatorLog(database).record("queue.paused", actor="sara", queue=QUEUE) as action:
        sealer.step()
        close_all(watcher(database, time), time)
        sealer.step()
        action.note(changed=True)

    with database.session() as session:
        first, last = session.scalars(select(AuditLog).order_by(AuditLog.id))
        assert (first.outcome, "changed" in first.detail) == ("interrupted", False)  # type: ignore[operator]
        assert (last.action, last.actor, last.queue, last.outcome) == ("queue.paused", "sara", QUEUE, "done")
        assert last.detail == {"changed": True, "entry": first.id}


def test_while_a_queues_entries_wait_to_be_moved_its_actions_stay_open(database: Database) -> None:
    log, time = OperatorLog(database), Time()
    for queue in (QUEUE, "test:other"):
        log._begin({"action": "queue.paused" if queue == QUEUE else "queue.resumed", "queue": queue, "actor": "s"}, {})
    lag: dict[str, AuditLag | None] = {QUEUE: AuditLag(5, 120_000), "test:other": AuditLag(5, 400)}
    watch = watcher(database, time, lambda: lag)

    close_all(watch, time)
    assert [entries(database)[name].outcome for name in ("queue.paused", "queue.resumed")] == [
        "requested",
        "interrupted",
    ]

    lag[QUEUE] = None
    watch.step()
    assert entries(database)["queue.paused"].outcome == "requested", "what waits in a damaged stream is not known"

    lag[QUEUE] = AuditLag(0, 0)
    watch.step()
    assert entries(database)["queue.paused"].outcome == "interrupted"


def test_beats_of_what_has_ended_are_taken_away(database: Database) -> None:
    with database.session() as session:
        session.execute(insert(AuditActionBeat).values(entry_id=77, beat=3))
    with going_on(database, 78):
        watcher(database, Time()).step()

    with database.reading() as session:
        assert session.scalars(select(AuditActionBeat.entry_id)).all() == []


def test_every_outcome_has_its_colour_on_the_page_and_its_word_in_the_docs() -> None:
    page = (ROOT / "dashboards/assets/js/pages/audit.js").read_text()
    (colours,) = re.findall(r"const OUTCOMES = \{(.*)\}", page)

    assert set(re.findall(r"(\w+):", colours)) == set(OUTCOMES)
    assert all(f"`{outcome}`" in (ROOT / "docs/audit-actions.md").read_text() for outcome in OUTCOMES)
