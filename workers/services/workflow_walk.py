"""One walk over a workflow's steps: what is done is passed, what can be done is done, what waits is reported.

Every step's result is on record before the next step begins, so a walk that is cut off anywhere is taken up by the
next one. A step that was begun and has no result is begun again under the same attempt and key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from teknav_ops.platform.workflow_definition import (
    ConditionStep,
    ParallelStep,
    RepeatStep,
)
from teknav_ops.platform.workflow_templates import TemplateError, evaluate
from teknav_ops.storage.tables.base import utc_now
from workers.services.workflow_history import StepState
from workers.services.workflow_leaf import Leaves
from workers.services.workflow_outcomes import Done, Pending, StepGaveUp

#: The path of what was done, the step that undoes it, and the names that its expressions see.
Undoing = tuple[str, Any, dict[str, Any]]


class Walk(Leaves):
    """One walk; outputs of steps are added to `names` as they are met."""

    def sequence(self, steps: Sequence[Any], path: str, scope: Mapping[str, Any]) -> Done | Pending:
        """Steps one after the other. Raises StepGaveUp."""
        outputs = {}
        for index, step in enumerate(steps):
            result = self.step(step, f"{path}[{index}]", scope)
            if isinstance(result, Pending):
                return result
            outputs[step.id] = result.output
        return Done(outputs)

    def step(self, step: Any, path: str, scope: Mapping[str, Any]) -> Done | Pending:
        """One step of any kind. Raises StepGaveUp."""
        if isinstance(step, ConditionStep):
            result = self._condition(step, path, scope)
        elif isinstance(step, ParallelStep):
            result = self._parallel(step, path, scope)
        elif isinstance(step, RepeatStep):
            result = self._repeat(step, path, scope)
        else:
            result = self.leaf(step, path, scope)
        if isinstance(result, Done):
            self.names["steps"][step.id] = result.output
        return result

    def _condition(self, step: ConditionStep, path: str, scope: Mapping[str, Any]) -> Done | Pending:
        state = self._fresh(path)
        if state is None:
            # Decided once: what the world looks like later does not change the way that was taken.
            took = "then" if self._evaluated(step, path, "when", step.when, scope) else "else"
            self._history.add(path, step.id, step.kind, 1, "succeeded", output={"took": took})
        elif state.status == "failed":
            raise StepGaveUp(path, state.error_type or "", state.error or "")
        else:
            took = state.output["took"]
        result = self.sequence(step.then if took == "then" else step.otherwise, f"{path}.{took}", scope)
        return Done({"took": took}) if isinstance(result, Done) else result

    def _evaluated(self, step: Any, path: str, field: str, expression: str, scope: Mapping[str, Any]) -> Any:
        try:
            return evaluate(expression, {**self.names, **scope}, where=f"{path}.{field}")
        except TemplateError as error:
            raise self._gave_up(step, path, 1, "TemplateError", str(error)) from None

    def _parallel(self, step: ParallelStep, path: str, scope: Mapping[str, Any]) -> Done | Pending:
        results = [
            self.sequence(branch.steps, f"{path}.branches[{index}].steps", scope)
            for index, branch in enumerate(step.branches)
        ]
        pending = [result.until for result in results if isinstance(result, Pending)]
        if pending:
            self._check_timeout(step, path)
            return Pending(min(pending))
        return self._join(step, path, [result.output for result in results if isinstance(result, Done)])

    def _repeat(self, step: RepeatStep, path: str, scope: Mapping[str, Any]) -> Done | Pending:
        state = self._fresh(path)
        if state is None:
            items = self._evaluated(step, path, "over", step.over, scope)
            if not isinstance(items, list) or len(items) > step.max_items:
                told = f"{len(items)} items; at most {step.max_items}" if isinstance(items, list) else "is no list"
                raise self._gave_up(step, path, 1, "RepeatOutOfBounds", f"over: {told}")
            self._history.add(path, step.id, step.kind, 1, "started", input=items)
        else:
            items = state.input
        outputs = []
        for index, item in enumerate(items):
            result = self.sequence(step.steps, f"{path}#{index}.steps", {**scope, "item": item, "index": index})
            if isinstance(result, Pending):
                self._check_timeout(step, path)
                return result
            outputs.append(result.output)
        return self._join(step, path, outputs)

    def _join(self, step: ParallelStep | RepeatStep, path: str, outputs: list[Any]) -> Done:
        state = self._fresh(path)
        if state is None or state.status != "succeeded":
            self._history.add(path, step.id, step.kind, 1, "succeeded", output=outputs)
        return Done(outputs)

    def _check_timeout(self, step: ParallelStep | RepeatStep, path: str) -> None:
        if step.timeout_seconds is None:
            return
        state = self._history.state(path)
        if state is None:
            self._history.add(path, step.id, step.kind, 1, "started")
        elif utc_now() - state.began_at > timedelta(seconds=step.timeout_seconds):
            raise self._gave_up(step, path, 1, "StepTimedOut", f"not done after {step.timeout_seconds:g} s")

    def undoing(self, steps: Sequence[Any]) -> list[Undoing]:
        """The undoing steps of what was done since the run began or was replayed: the newest first."""
        found: list[tuple[int, Undoing]] = []
        self._collect_undoing(steps, "steps", {}, found)
        return [undoing for _, undoing in sorted(found, key=lambda item: item[0], reverse=True)]

    def _collect_undoing(
        self, steps: Sequence[Any], path: str, scope: Mapping[str, Any], found: list[tuple[int, Undoing]]
    ) -> None:
        for index, step in enumerate(steps):
            at = f"{path}[{index}]"
            state = self._fresh(at)
            for name, inside, more in _inside(step, self._history.state(at)):
                self._collect_undoing(inside, f"{at}{name}", {**scope, **more}, found)
            if state is None or state.status not in ("succeeded", "compensated"):
                continue
            self.names["steps"][step.id] = state.output
            if getattr(step, "compensate", None) is not None:
                # With the outputs as they were: a loop's next round writes over those of this one.
                seen = {**scope, "steps": dict(self.names["steps"])}
                found.append((state.done_sequence, (at, step.compensate, seen)))


def _inside(step: Any, state: StepState | None) -> list[tuple[str, Sequence[Any], dict[str, Any]]]:
    """The sequences inside a step, under the paths and with the names that a walk gives them."""
    if isinstance(step, ConditionStep):
        return [(".then", step.then, {}), (".else", step.otherwise, {})]
    if isinstance(step, ParallelStep):
        return [(f".branches[{index}].steps", branch.steps, {}) for index, branch in enumerate(step.branches)]
    if isinstance(step, RepeatStep):
        items = state.input if state is not None and isinstance(state.input, list) else []
        return [(f"#{index}.steps", step.steps, {"item": item, "index": index}) for index, item in enumerate(items)]
    return []
