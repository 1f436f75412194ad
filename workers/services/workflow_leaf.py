"""Steps that do something, or wait for something: begun, looked after, tried again, given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from teknav_ops.errors import (
    InvalidRequest,
    PermanentError,
    RedisUnavailable,
    StorageUnavailable,
    Throttled,
    TransientError,
)
from teknav_ops.jobs.states import JobState
from teknav_ops.outbound.http import OutboundHttp
from teknav_ops.payloads.redaction import error_text
from teknav_ops.platform.workflow_checks import job_of
from teknav_ops.platform.workflow_definition import (
    DELAY_LIMIT_SECONDS,
    ApprovalStep,
    DelayStep,
    EnqueueStep,
    HttpStep,
    UpdateArticleStep,
)
from teknav_ops.platform.workflow_templates import fill
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY
from workers.services.workflow_children import ChildJobs
from workers.services.workflow_effects import call_http, change_article
from workers.services.workflow_history import History, RunCancelled, RunTakenOver, StepState, WorkflowTooLong
from workers.services.workflow_outcomes import (
    ChildCancelled,
    ChildFailed,
    ChildLost,
    Done,
    Pending,
    StepGaveUp,
    StepTimedOut,
)

LONGEST_POLL_SECONDS: Final = 30.0
#: A decision wakes the run by itself; looking is for the one that was made while the run was on its way to sleep.
_LONGEST_APPROVAL_POLL_SECONDS: Final = 600.0
_LONGEST_BACKOFF_SECONDS: Final = 3_600.0
#: Ours to wait out, not the step's failure: the job is tried again and the walk goes on where it stood.
_PASSED_ON: Final[tuple[type[Exception], ...]] = (
    StorageUnavailable,
    RedisUnavailable,
    *OUTAGE_ERRORS,
    RunCancelled,
    RunTakenOver,
    WorkflowTooLong,
)

LeafStep = EnqueueStep | HttpStep | UpdateArticleStep | DelayStep | ApprovalStep


class Leaves:
    """`names` is what expressions see."""

    def __init__(
        self, history: History, names: dict[str, Any], *, children: ChildJobs, http: OutboundHttp, run_key: str,
        resumed_after: int, article_changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._history = history
        self.names = names
        self._children = children
        self._http = http
        self._run_key = run_key
        self._resumed_after = resumed_after
        self._article_changed = article_changed

    def _fresh(self, path: str) -> StepState | None:
        """The newest state at a path, unless it failed before the run was replayed, or was undone."""
        state = self._history.state(path)
        ended = ("failed", "compensated", "cancelled")
        is_over = state is not None and (state.status in ended or path.endswith(".compensate"))
        return None if state is None or (is_over and state.sequence <= self._resumed_after) else state

    def leaf(self, step: LeafStep, path: str, scope: Mapping[str, Any]) -> Done | Pending:
        """Begin it, look after it, or pass it. Raises StepGaveUp."""
        before, state = self._history.state(path), self._fresh(path)
        if state is not None and state.status == "succeeded":
            return Done(state.output)
        if state is not None and state.status == "failed":
            if state.due_at is None:
                raise StepGaveUp(path, state.error_type or "", state.error or "")
            if state.due_at > utc_now():
                return Pending(state.due_at)
            state = None
        attempt = state.attempt if state else (before.attempt + 1 if before else 1)
        try:
            if state is not None and state.status == "waiting":
                return self._look(step, path, state)
            return self._begin(step, path, scope, attempt, state)
        except _PASSED_ON:
            raise
        except (ValidationError, ValueError, TypeError) as error:
            raise self._gave_up(step, path, attempt, type(error).__name__, error_text(error, 500)) from None
        except (PermanentError, InvalidRequest) as error:
            raise self._gave_up(step, path, attempt, type(error).__name__, error_text(error, 500)) from None
        except (TransientError, Throttled) as error:
            number = self._history.failure_count(path, since=self._resumed_after) + 1
            return self._retry(step, path, attempt, number, error)

    def _key(self, path: str, attempt: int) -> str:
        return f"{self._run_key}/{path}/{attempt}"[-200:]

    def _begin(
        self, step: LeafStep, path: str, scope: Mapping[str, Any], attempt: int, state: StepState | None
    ) -> Done | Pending:
        written = step.model_dump(mode="json", include=_FILLED[step.kind], exclude_unset=True)
        filled = fill(written, {**self.names, **scope}, where=path)
        if isinstance(step, EnqueueStep):
            return self._enqueue(step, path, attempt, filled, is_new=state is None)
        if state is None:
            self._history.add(path, step.id, step.kind, attempt, "started", input=filled)
        if isinstance(step, DelayStep | ApprovalStep):
            return self._wait(step, path, attempt, filled)
        if isinstance(step, HttpStep):
            output = call_http(self._http, step, filled, key=self._key(path, attempt))
            self._history.add(path, step.id, step.kind, attempt, "succeeded", output=output)
            return Done(output)
        facts: dict[str, Any] = {}
        article_id = filled.get("article_id", self.names["input"].get("article_id"))
        with self._history.writing(path, step.id, step.kind, attempt, "succeeded", output=facts) as session:
            facts.update(change_article(session, article_id, filled["set"]))
        self._article_changed()
        return Done(facts)

    def _enqueue(self, step: EnqueueStep, path: str, attempt: int, filled: dict[str, Any], *, is_new: bool) -> Pending:
        """The child's id is known before it is enqueued, so whoever begins this again finds the same job."""
        job = job_of(step, TOPOLOGY[step.queue].jobs)
        payload, shown = self._children.validated(step.queue, job, filled.get("payload", {}), where=path)
        child_id = self._children.id_of(path, attempt)
        child = {"child_queue": step.queue, "child_job_id": child_id}
        if is_new:
            self._history.add(path, step.id, step.kind, attempt, "started", input=shown, **child)
        self._children.enqueue(step.queue, job, payload, child_id, may_exist=not is_new)
        self._history.add(path, step.id, step.kind, attempt, "waiting", **child)
        return Pending(utc_now() + timedelta(seconds=1))

    def _wait(self, step: DelayStep | ApprovalStep, path: str, attempt: int, filled: dict[str, Any]) -> Pending:
        due_at: datetime | None = None
        if isinstance(step, ApprovalStep):
            due_at = utc_now() + timedelta(seconds=step.timeout_seconds) if step.timeout_seconds else None
        elif filled.get("until") is not None:
            due_at = datetime.fromisoformat(filled["until"])
            if due_at.tzinfo is None:
                raise ValueError(f"until: {filled['until']} names no time zone")
        else:
            due_at = utc_now() + timedelta(seconds=_delay_seconds(filled["seconds"]))
        told = {**filled, "on_reject": step.on_reject} if isinstance(step, ApprovalStep) else None
        self._history.add(path, step.id, step.kind, attempt, "waiting", due_at=due_at, input=told)
        return Pending(due_at or utc_now() + timedelta(seconds=LONGEST_POLL_SECONDS))

    def _look(self, step: LeafStep, path: str, state: StepState) -> Done | Pending:
        """At a step that waits."""
        now = utc_now()
        is_due = state.due_at is not None and state.due_at <= now
        if isinstance(step, DelayStep):
            return self._succeed(step, path, state, None) if is_due else Pending(state.due_at or now)
        if isinstance(step, ApprovalStep):
            if not is_due:
                pending = Pending.later(
                    state.began_at, now, least_seconds=30.0, most_seconds=_LONGEST_APPROVAL_POLL_SECONDS
                )  # fmt: skip
                return Pending(min(state.due_at or pending.until, pending.until))
            if step.on_timeout == "continue":
                return self._succeed(step, path, state, {"approved": False, "by": None, "comment": "timed out"})
            raise self._gave_up(step, path, state.attempt, "ApprovalTimedOut", "nobody decided in time")
        assert isinstance(step, EnqueueStep)
        return self._look_at_child(step, path, state, now)

    def _look_at_child(self, step: EnqueueStep, path: str, state: StepState, now: datetime) -> Done | Pending:
        assert state.child_queue and state.child_job_id
        child = self._children.look(state.child_queue, state.child_job_id)
        if child.state is JobState.COMPLETED:
            return self._succeed(step, path, state, child.result)
        if child.state is JobState.CANCELLED:
            raise ChildCancelled(f"{state.child_queue} {state.child_job_id} was taken out")
        if child.state is None:
            raise ChildLost(f"no trace is left of {state.child_queue} {state.child_job_id}")
        if child.state is JobState.FAILED and step.on_dead_letter == "fail":
            raise ChildFailed(f"{state.child_queue} {state.child_job_id}: {child.error}")
        waited_seconds = (now - state.began_at).total_seconds()
        if step.timeout_seconds is not None and waited_seconds > step.timeout_seconds:
            self._children.cancel(state.child_queue, state.child_job_id)
            raise StepTimedOut(f"the job was not done after {step.timeout_seconds:g} s")
        return Pending.later(state.began_at, now, least_seconds=1.0, most_seconds=LONGEST_POLL_SECONDS)

    def _succeed(self, step: LeafStep, path: str, state: StepState, output: Any) -> Done:
        self._history.add(path, step.id, step.kind, state.attempt, "succeeded", output=output)
        return Done(output)

    def _retry(self, step: LeafStep, path: str, attempt: int, number: int, error: Exception) -> Pending:
        """Once more later, if the step may; `number` counts the attempts since the run began or was replayed."""
        retry = getattr(step, "retry", None)
        name, words = type(error).__name__, error_text(error, 500)
        if retry is None or number >= retry.attempts:
            raise self._gave_up(step, path, attempt, name, words)
        backoff = min(retry.backoff_seconds * 2 ** (number - 1), _LONGEST_BACKOFF_SECONDS)
        pause = max(backoff, getattr(error, "retry_after_seconds", None) or 0.0)
        due_at = utc_now() + timedelta(seconds=pause)
        self._history.add(
            path, step.id, step.kind, attempt, "failed", error_type=name, error=words, due_at=due_at
        )  # fmt: skip
        return Pending(due_at)

    def _gave_up(self, step: Any, path: str, attempt: int, error_type: str, words: str) -> StepGaveUp:
        self._history.add(path, step.id, step.kind, attempt, "failed", error_type=error_type, error=words)
        return StepGaveUp(path, error_type, words)


def _delay_seconds(given: Any) -> float:
    """What a template gave, within the limit that a written number has. Raises ValueError, TypeError."""
    seconds = float(given)
    if not 0 <= seconds <= DELAY_LIMIT_SECONDS:
        raise ValueError(f"seconds: {seconds:g} is not between 0 and {DELAY_LIMIT_SECONDS:,}")
    return seconds


#: The fields of each kind that hold templates.
_FILLED: Final[Mapping[str, set[str]]] = {
    "enqueue": {"payload"},
    "http": {"url", "headers", "body"},
    "update-article": {"article_id", "set"},
    "delay": {"seconds", "until"},
    "approval": {"prompt"},
}
