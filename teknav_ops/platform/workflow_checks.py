"""What is checked before a workflow is saved, so that a run does not find it out at night.

Names of queues, jobs and fields, payloads as far as they are literal, expressions, references to steps that
have not run by then, duplicate ids, and the size of the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from teknav_ops.errors import InvalidRequest
from teknav_ops.outbound.addresses import OWN_HEADERS, InvalidUrl, check_url
from teknav_ops.platform.article_changes import ArticleChanges
from teknav_ops.platform.workflow_definition import (
    ApprovalStep,
    ConditionStep,
    Definition,
    DelayStep,
    EnqueueStep,
    HttpStep,
    InvalidDefinition,
    ParallelStep,
    Step,
    UpdateArticleStep,
    place_of,
    read_definition,
)
from teknav_ops.platform.workflow_templates import BadExpression, expressions, is_template, literal_text, paths_read
from teknav_ops.topology import TOPOLOGY, Topology
from teknav_ops.web_addresses import header_problem

STEP_LIMIT: Final = 200
DEPTH_LIMIT: Final = 8
DEFINITION_LIMIT_BYTES: Final = 128 * 1024
#: Written by the sender itself, or not for a workflow to decide.
_OWN_HEADERS: Final = OWN_HEADERS | {"idempotency-key"}
_INPUT_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
}  # fmt: skip


def check_definition(data: Any, topology: Topology = TOPOLOGY) -> Definition:
    """The definition, if nothing is wrong with it.

    Raises:
        InvalidDefinition: lists up to twenty problems, each with the path of the faulty place.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidDefinition(["definition: must be plain JSON; NaN and Infinity are not"]) from None
    if len(text.encode("utf-8", "surrogatepass")) > DEFINITION_LIMIT_BYTES:
        raise InvalidDefinition([f"definition: over the limit of {DEFINITION_LIMIT_BYTES:,} bytes"])
    if "\\u0000" in text:
        raise InvalidDefinition(["definition: must not hold null characters"])
    definition = read_definition(data)
    problems = _Checker(definition, topology).problems()
    if problems:
        raise InvalidDefinition(problems[:20])
    return definition


def is_of_type(value: Any, name: str) -> bool:
    """Whether a value has an input's declared type; true and false are no numbers."""
    is_boolean = isinstance(value, bool)
    return isinstance(value, _INPUT_TYPES[name]) and (name == "boolean" or not is_boolean)


class _Checker:
    """One walk over a definition, in the order in which its steps run."""

    def __init__(self, definition: Definition, topology: Topology) -> None:
        self._definition = definition
        self._topology = topology
        self._problems: list[str] = []
        self._places: dict[str, str] = {}

    def problems(self) -> list[str]:
        """Each with its place."""
        for name, field in self._definition.inputs.items():
            if field.default is not None and not is_of_type(field.default, field.type):
                self._problem(f"inputs.{name}.default", f"is not of type {field.type}")
        seen = self._sequence(self._definition.steps, "steps", frozenset(), 1, is_repeated=False)
        self._expressions(self._definition.outputs, "outputs", seen, is_repeated=False)
        if len(self._places) > STEP_LIMIT:
            self._problem("steps", f"{len(self._places)} steps are over the limit of {STEP_LIMIT}")
        return self._problems

    def _problem(self, place: str, text: str) -> None:
        self._problems.append(f"{place}: {text}")

    def _sequence(
        self, steps: Iterable[Step], place: str, seen: frozenset[str], depth: int, *, is_repeated: bool
    ) -> frozenset[str]:
        """Check steps one after the other; answers the ids that later steps may refer to."""
        for index, step in enumerate(steps):
            seen = self._step(step, f"{place}[{index}]", seen, depth, is_repeated=is_repeated)
        return seen

    def _step(self, step: Step, place: str, seen: frozenset[str], depth: int, *, is_repeated: bool) -> frozenset[str]:
        self._claim_id(step.id, place)
        if depth > DEPTH_LIMIT:
            self._problem(place, f"is nested {depth} deep; the limit is {DEPTH_LIMIT}")
            return seen | {step.id}
        inner = seen
        if isinstance(step, EnqueueStep | HttpStep | UpdateArticleStep | DelayStep | ApprovalStep):
            self._leaf(step, place, seen, is_repeated=is_repeated)
        elif isinstance(step, ConditionStep):
            self._expression(step.when, f"{place}.when", seen, is_repeated=is_repeated)
            for name, steps in (("then", step.then), ("else", step.otherwise)):
                inner |= self._sequence(steps, f"{place}.{name}", seen, depth + 1, is_repeated=is_repeated)
        elif isinstance(step, ParallelStep):
            for index, branch in enumerate(step.branches):
                under = f"{place}.branches[{index}].steps"
                inner |= self._sequence(branch.steps, under, seen, depth + 1, is_repeated=is_repeated)
        else:
            self._expression(step.over, f"{place}.over", seen, is_repeated=is_repeated)
            # What is inside is seen inside only; later steps read it from the loop's own output.
            self._sequence(step.steps, f"{place}.steps", seen, depth + 1, is_repeated=True)
        after = inner | {step.id}
        undo = getattr(step, "compensate", None)
        if undo is not None:
            self._claim_id(undo.id, f"{place}.compensate")
            if undo.compensate is not None:
                self._problem(f"{place}.compensate.compensate", "what undoes a step is not undone itself; remove it")
            self._leaf(undo, f"{place}.compensate", after, is_repeated=is_repeated)
        return after

    def _claim_id(self, step_id: str, place: str) -> None:
        if step_id in self._places:
            self._problem(f"{place}.id", f"{step_id!r} is the id of {self._places[step_id]} already")
        self._places.setdefault(step_id, place)

    def _leaf(
        self, step: EnqueueStep | HttpStep | UpdateArticleStep | DelayStep | ApprovalStep, place: str,
        seen: frozenset[str], *, is_repeated: bool,
    ) -> None:  # fmt: skip
        written = step.model_dump(mode="json", exclude={"id", "kind", "compensate", "retry"})
        for name, value in written.items():
            self._expressions(value, f"{place}.{name}", seen, is_repeated=is_repeated)
        if isinstance(step, EnqueueStep):
            self._enqueue(step, place)
        elif isinstance(step, HttpStep):
            self._http(step, place)
        elif isinstance(step, UpdateArticleStep):
            self._literal_fields(ArticleChanges, step.set, f"{place}.set")

    def _enqueue(self, step: EnqueueStep, place: str) -> None:
        try:
            queue = self._topology[step.queue]
        except InvalidRequest as error:
            self._problem(f"{place}.queue", str(error).removeprefix("queue: "))
            return
        if step.job is None and len(queue.jobs) > 1:
            self._problem(f"{place}.job", f"name one of {', '.join(sorted(queue.jobs))}")
            return
        try:
            model = queue.payload_of(job_of(step, queue.jobs))
        except InvalidRequest as error:
            self._problem(f"{place}.job", str(error).removeprefix("job: "))
            return
        self._literal_fields(model, step.payload, f"{place}.payload")
        if step.payload.get("workflow") == self._definition.slug and queue.name == own_queue(self._topology):
            self._problem(f"{place}.payload.workflow", "a workflow may not run itself")

    def _literal_fields(self, model: Any, values: Mapping[str, Any], place: str) -> None:
        """Check what is literal; what a template will fill in is checked when it is filled."""
        filled = {name for name, value in values.items() if is_template(value)}
        try:
            model.model_validate(values)
        except ValidationError as error:
            for item in error.errors():
                if item["loc"][:1] and item["loc"][0] in filled and item["type"] != "extra_forbidden":
                    continue
                if item["loc"] or not filled:
                    told = "there is no such field" if item["type"] == "extra_forbidden" else item["msg"]
                    self._problem(place_of((place, *item["loc"])), told)

    def _http(self, step: HttpStep, place: str) -> None:
        if not step.url.startswith(("https://", "http://", "{{")):
            self._problem(f"{place}.url", "must begin with https:// (or http://)")
        elif not is_template(step.url):
            try:
                check_url(step.url)
            except InvalidUrl as error:
                self._problem(f"{place}.url", str(error).removeprefix("url: "))
        for name, value in step.headers.items():
            if name.lower() in _OWN_HEADERS:
                self._problem(f"{place}.headers.{name}", "is set by the sender; remove it")
            elif problem := header_problem(literal_text(value)):
                self._problem(f"{place}.headers.{name}", problem)

    def _expressions(self, value: Any, place: str, seen: frozenset[str], *, is_repeated: bool) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                self._expressions(item, f"{place}.{name}", seen, is_repeated=is_repeated)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self._expressions(item, f"{place}[{index}]", seen, is_repeated=is_repeated)
        else:
            for expression in expressions(value):
                self._expression(expression, place, seen, is_repeated=is_repeated)

    def _expression(self, text: str, place: str, seen: frozenset[str], *, is_repeated: bool) -> None:
        known = ["input", "steps", "article", "run", *(["item", "index"] if is_repeated else [])]
        try:
            paths = paths_read(text)
        except BadExpression as error:
            self._problem(place, str(error))
            return
        for path in sorted(paths):
            if path[0] not in known:
                if len(path) == 1:
                    self._problem(place, f"there is no {path[0]!r} here; there are {', '.join(known)}")
            elif path[0] == "steps" and len(path) == 2 and path[1] not in seen:
                self._problem(place, f"step {path[1]!r} does not run before this one, or does not exist")
            elif path[0] == "input" and len(path) == 2 and path[1] not in self._definition.inputs:
                named = ", ".join(self._definition.inputs) or "none"
                self._problem(place, f"there is no input {path[1]!r}; declared are {named}")
            elif path == ("article",) and "article_id" not in self._definition.inputs:
                self._problem(place, "`article` is the one whose id is input.article_id: declare that input")


def job_of(step: EnqueueStep, jobs: Mapping[str, Any]) -> str:
    """The job that a step enqueues: the one it names, else the queue's only one."""
    return step.job if step.job is not None else next(iter(jobs))


def own_queue(topology: Topology) -> str:
    """The queue on which workflows run themselves."""
    return next((queue.name for queue in topology.values() if "run-workflow" in queue.jobs), "")
