"""Each script's entry carries what the script knows, and every action that a script writes is looked at here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State

LUA = Path(scripts.__file__).parent / "lua"
JOB = {"actor", "job_id", "job_name", "trace_id"}
RUN = JOB | {"attempt", "delivery", "waited_ms"}
ENDED = RUN | {"duration_ms"}
FAILED = ENDED | {"error_type", "fingerprint", "detail"}
LETTER = JOB | {"attempt", "error_type", "fingerprint"}
CONTROL = {"actor", "detail"}


def begun(state: State) -> scripts.Delivery:
    state.enqueue(trace_id="ab" * 16)
    return state.fetch()[0]


def start(state: State) -> None:
    delivery = begun(state)
    state.run(scripts.note_started(KEYS, worker="w:1", begun=[(delivery.id, delivery.delivery)]))


def stick(state: State) -> None:
    delivery = begun(state)
    state.run(
        scripts.note_stuck(
            KEYS, worker="w:1", job_id=delivery.id, delivery=delivery.delivery, detail="in sleep", attempt="{}"
        )
    )


def lose(state: State) -> None:
    begun(state)
    state.expire_leases()
    state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=1_000, worker="w:2"))


def promote(state: State) -> None:
    job_id = state.enqueue(trace_id="ab" * 16, delay_ms=60_000)
    state.run(scripts.promote(KEYS, job_id=job_id, actor="sara"))


def cancel(state: State) -> None:
    state.run(scripts.cancel(KEYS, job_id=state.enqueue(trace_id="ab" * 16), actor="sara", cancelled_kept=10))


def replay(state: State) -> None:
    job_id = state.dead(trace_id="ab" * 16)
    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)]))


def flush(state: State) -> None:
    state.enqueue(trace_id="ab" * 16)
    state.run(scripts.flush(KEYS, actor="test", count=10))


def delete(action: str) -> Callable[[State], None]:
    def run(state: State) -> None:
        job_id = state.dead(trace_id="ab" * 16)
        state.run(scripts.delete_dead_letters(KEYS, actor="sara", action=action, failures=[(job_id, None)]))

    return run


def control(action: str) -> Callable[[State], None]:
    return lambda state: state.run(scripts.set_control(KEYS, actor="sara", action=action, fields={"concurrency": "3"}))


EXPECTED: dict[str, tuple[Callable[[State], object], set[str]]] = {
    "job.enqueued": (begun, JOB),
    "job.started": (start, RUN),
    "job.completed": (lambda state: state.complete(begun(state)), ENDED),
    "job.retried": (lambda state: state.postpone(begun(state)), FAILED),
    "job.snoozed": (lambda state: state.postpone(begun(state), uses_attempt=False), FAILED),
    "job.failed": (lambda state: state.dead_letter(begun(state)), FAILED),
    "dlq.added": (lambda state: state.dead_letter(begun(state)), FAILED),
    "job.stuck": (stick, RUN | {"detail"}),
    "job.lost": (lose, RUN),
    "job.replayed": (replay, LETTER),
    "job.promoted": (promote, JOB),
    "job.cancelled": (cancel, JOB),
    "job.dropped": (flush, JOB),
    "dlq.deleted": (delete("dlq.deleted"), LETTER),
    "dlq.purged": (delete("dlq.purged"), LETTER),
    "queue.paused": (control("queue.paused"), CONTROL),
    "queue.resumed": (control("queue.resumed"), CONTROL),
    "queue.configured": (control("queue.configured"), CONTROL),
}


@pytest.mark.parametrize("action", EXPECTED)
def test_an_entry_says_who_what_and_how_it_went(client: redis.Redis, action: str) -> None:
    state = State(client)
    happen, expected = EXPECTED[action]
    happen(state)

    (entry,) = [fields for _, fields in client.xrange(KEYS.audit) if fields["action"] == action]

    assert {name for name, value in entry.items() if value} - {"action"} == expected


def test_no_action_of_a_script_is_left_out() -> None:
    written = set()
    for path in LUA.glob("*.lua"):
        header_and_body = path.read_text()
        if "'XADD', audit" in header_and_body:
            # In strings and in headers; elsewhere `job.turn` is a field of a table.
            texts = " ".join(re.findall(r"'[^']*'|--.*", header_and_body))
            written |= set(re.findall(r"\b((?:job|dlq|queue)\.[a-z_]+)\b", texts))
            assert re.search(r"'XADD', audit, '\*', 'action', ", header_and_body), (
                f"{path.name}: the action comes first"
            )

    assert written == set(EXPECTED)
