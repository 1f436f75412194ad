"""A job in each of its states, and each script that may touch it then: calls only, to be sent in one pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import BatchTurn, Call, Run
from tests.fault_points.cases import ENDED, JOB, OTHER_JOB, enqueue_call, fetch_call, reclaim_call
from tests.support.state import KEYS, failure

#: The batch replay that every play begins with, run by this runner.
BATCH: Final = BatchTurn("replay-1", "r:1", 0)
BATCH_RECORD: Final = {"state": "running", "runner": "r:1", "total": "1"}


def _run(delivery: int) -> Run:
    return Run(JOB, delivery, 1_700_000_000_000, 5.0, "b41")


def complete(delivery: int = 1) -> Call[Any]:
    return scripts.complete(KEYS, worker="w:1", completed_kept=1_000, wakes=False, runs=[(_run(delivery), "")])


def postpone(delivery: int = 1, *, delay_ms: int = 60_000, uses_attempt: bool = True) -> Call[Any]:
    return scripts.postpone(
        KEYS, worker="w:1", run=_run(delivery), failure=failure(), delay_ms=delay_ms, uses_attempt=uses_attempt
    )


def dead_letter(delivery: int = 1, *, failed_kept: int = 5_000) -> Call[Any]:
    return scripts.dead_letter(KEYS, worker="w:1", run=_run(delivery), failure=failure(), failed_kept=failed_kept)


def mark_started(delivery: int = 1) -> Call[Any]:
    return scripts.mark_started(KEYS, job_id=JOB, delivery=delivery)


def release(delivery: int = 1) -> Call[Any]:
    return scripts.release(KEYS, held=[(JOB, delivery)])


def cancel() -> Call[Any]:
    return scripts.cancel(KEYS, job_id=JOB, actor="olga", cancelled_kept=1_000)


def reseal(record: str = KEYS.job(JOB)) -> Call[Any]:
    return scripts.reseal(record, [scripts.Replaced("payload", '{"number": 1}', '{"number": 1 }')])


def replay(turn: BatchTurn | None = None) -> Call[Any]:
    return scripts.replay_dead_letters(KEYS, actor="olga", failures=[(JOB, None)], turn=turn)


def delete() -> Call[Any]:
    return scripts.delete_dead_letters(KEYS, actor="olga", action="dlq.deleted", failures=[(JOB, None)])


@dataclasses.dataclass(frozen=True, slots=True)
class Situation:
    """A state of the job, how it came there, and under which delivery a worker knows it."""

    state: str | None
    calls: Sequence[Call[Any]]
    delivery: int = 1


def situations() -> dict[str, Situation]:
    """Every state of a job, in each way that scripts tell apart."""
    new, lost = enqueue_call(idempotency_key="key"), fetch_call(lease_ms=ENDED)
    urgent, later = enqueue_call(priority=-1), enqueue_call(delay_ms=60_000)
    held = (new, fetch_call())
    return {
        "not yet accepted": Situation(None, ()),
        "waiting": Situation("waiting", (new,)),
        "waiting with a priority": Situation("waiting", (urgent,)),
        "waiting, given back unbegun": Situation("waiting", (*held, release())),
        "waiting, taken back from a dead worker": Situation("waiting", (new, lost, reclaim_call())),
        "waiting, replayed": Situation("waiting", (*held, dead_letter(), replay())),
        "active": Situation("active", held),
        "active, its lease over": Situation("active", (new, lost)),
        "active for a second time, begun, its lease over": Situation(
            "active", (urgent, lost, reclaim_call(), lost, mark_started(2)), delivery=2
        ),
        "active, taken back to be given up": Situation("active", (new, lost, reclaim_call(lost_limit=1)), delivery=2),
        "delayed": Situation("delayed", (later,)),
        "delayed, to be tried again": Situation("delayed", (*held, postpone())),
        "delayed, snoozed": Situation("delayed", (*held, postpone(uses_attempt=False))),
        "delayed with a priority, due": Situation("delayed", (urgent, fetch_call(), postpone(delay_ms=0))),
        "completed": Situation("completed", (*held, complete())),
        "failed": Situation("failed", (*held, dead_letter())),
        "failed, its letter deleted": Situation("failed", (*held, dead_letter(), delete())),
        "failed, no more in the history": Situation("failed", (*held, dead_letter(failed_kept=0))),
        "failed again after a replay": Situation(
            "failed", (*held, dead_letter(), replay(), fetch_call(), dead_letter(2)), delivery=2
        ),
        "cancelled": Situation("cancelled", (new, cancel())),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """A call about the job; `did` reads from its raw answer whether anything was written, `is_workers` says that only
    the worker may send it that holds the delivery."""

    make: Callable[[int], Call[Any]]
    did: Callable[[Any], bool] = bool
    is_workers: bool = False

    @property
    def script(self) -> str:
        return self.make(1).script.name


def actions() -> Mapping[str, Action]:
    """Everything that may happen to a job; `make` takes the delivery under which a worker knows it."""

    def is_done(answer: int) -> bool:
        return answer == 1

    return {
        "enqueue, sent again": Action(
            lambda _: enqueue_call(idempotency_key="key"), lambda answer: is_done(answer[0][0])
        ),
        "enqueue another job with its key": Action(
            lambda _: enqueue_call(OTHER_JOB, idempotency_key="key"), lambda answer: is_done(answer[0][0])
        ),
        # It may move what is due without handing anything out.
        "fetch": Action(lambda _: fetch_call(), lambda _: True),
        "complete": Action(complete, lambda answer: is_done(answer[0]), is_workers=True),
        "retry": Action(postpone, is_done, is_workers=True),
        "snooze": Action(lambda delivery: postpone(delivery, uses_attempt=False), is_done, is_workers=True),
        "dead_letter": Action(dead_letter, is_done, is_workers=True),
        # It is a heartbeat too.
        "extend_leases": Action(
            lambda delivery: scripts.extend_leases(KEYS, worker="w:1", lease_ms=30_000, held=[(JOB, delivery)]),
            lambda _: True,
            is_workers=True,
        ),
        "reclaim": Action(lambda _: reclaim_call(), lambda answer: answer != [0]),
        "reclaim, giving up": Action(lambda _: reclaim_call(lost_limit=1), lambda answer: answer != [0]),
        "mark_started": Action(mark_started, is_workers=True),
        "note_started": Action(
            lambda delivery: scripts.note_started(KEYS, worker="w:1", begun=[(JOB, delivery)]), is_workers=True
        ),
        "note_stuck": Action(
            lambda delivery: scripts.note_stuck(
                KEYS, worker="w:1", job_id=JOB, delivery=delivery, detail="here", attempt="{}"
            ),
            is_workers=True,
        ),
        "report_progress": Action(
            lambda delivery: scripts.report_progress(KEYS, job_id=JOB, delivery=delivery, fraction=0.5, note="half"),
            is_workers=True,
        ),
        "release": Action(release, is_workers=True),
        "cancel": Action(lambda _: cancel(), lambda answer: answer == "cancelled"),
        "promote": Action(
            lambda _: scripts.promote(KEYS, job_id=JOB, actor="olga"), lambda answer: answer == "promoted"
        ),
        "reseal": Action(lambda _: reseal()),
        "reseal the letter": Action(lambda _: reseal(KEYS.dlq_record(JOB))),
        "replay": Action(lambda _: replay()),
        "replay in a batch": Action(lambda _: replay(BATCH), lambda answer: answer >= 0),
        "delete the letter": Action(lambda _: delete()),
        "flush": Action(lambda _: scripts.flush(KEYS, actor="w:1", count=1)),
    }
