"""What a workflow is: its inputs, its steps, and what may be said of each kind of step.

`read_definition` gives a definition that can be run; `check_definition` (workflow_checks.py) is asked
before one is saved. Both name the faulty place as a path, such as `steps[2].branches[0].steps[1].queue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from teknav_ops.errors import InvalidRequest, PermanentError
from teknav_ops.one_line import is_one_line
from teknav_ops.payloads.workflows_run import Slug

DAY_SECONDS: Final = 86_400
DELAY_LIMIT_SECONDS: Final = 90 * DAY_SECONDS
DEFAULT_TIMEOUT_HOURS: Final = 7 * 24

StepId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Expression = Annotated[str, Field(min_length=1, max_length=1_000)]
Template = Annotated[str, Field(min_length=1, max_length=4_000)]
TimeoutSeconds = Annotated[float | None, Field(gt=0, le=DELAY_LIMIT_SECONDS)]
_Count = Annotated[int, Field(ge=1)]


class InvalidDefinition(InvalidRequest, PermanentError):
    """A workflow's definition cannot be run; the message lists the faulty places."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputField(_Part):
    """One value that a run is given. Without `required`, a run may leave it out and gets `default`."""

    type: Literal["string", "integer", "number", "boolean", "object", "array"]
    required: bool = True
    default: JsonValue = None
    description: str = ""


class Retry(_Part):
    """How often a step is tried in all, and the first pause, which doubles each time (an hour at most)."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 1
    backoff_seconds: Annotated[float, Field(ge=0, le=3_600)] = 5.0


class _Step(_Part):
    id: StepId


class _Effect(_Step):
    """A step that does something: it may be tried again, and may say how it is undone."""

    retry: Retry = Retry()
    timeout_seconds: TimeoutSeconds = None
    compensate: EffectStep | None = None


class EnqueueStep(_Effect):
    """Enqueue a job and wait for it; the output is its result."""

    kind: Literal["enqueue"]
    queue: str
    job: str | None = None
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    on_dead_letter: Literal["fail", "wait"] = "fail"


class HttpStep(_Effect):
    """Call an address on the internet; the output is the answer's status, body and duration."""

    kind: Literal["http"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    url: Template
    headers: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,60}$")], Template], Field(max_length=20)] = (
        Field(default_factory=dict)
    )
    body: JsonValue = None
    #: One request is never given longer; so a worker's thread is never held longer.
    timeout_seconds: Annotated[float | None, Field(gt=0, le=30)] = None


class UpdateArticleStep(_Effect):
    """Set fields of an article and raise its version."""

    kind: Literal["update-article"]
    article_id: Annotated[int, Field(ge=1)] | Template = "{{ input.article_id }}"
    set: Annotated[dict[str, JsonValue], Field(min_length=1)]


class DelayStep(_Step):
    """Wait: for so many seconds, or until a moment (ISO 8601 with its zone)."""

    kind: Literal["delay"]
    seconds: Annotated[float, Field(ge=0, le=DELAY_LIMIT_SECONDS)] | Template | None = None
    until: Template | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("give either seconds or until")
        return self


class ApprovalStep(_Step):
    """Wait for a person; the output says whether it was approved, by whom, and their comment."""

    kind: Literal["approval"]
    prompt: Template
    timeout_seconds: TimeoutSeconds = None
    on_reject: Literal["fail", "continue"] = "fail"
    on_timeout: Literal["fail", "continue"] = "fail"


class ConditionStep(_Step):
    """Take one of two ways. False, null, and what is empty are no."""

    kind: Literal["condition"]
    when: Expression
    then: list[Step] = Field(default_factory=list)
    otherwise: Annotated[list[Step], Field(alias="else")] = Field(default_factory=list)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not self.then and not self.otherwise:
            raise ValueError("give steps in then, in else, or in both")
        return self


class Branch(_Part):
    """Steps that run one after the other beside other branches."""

    steps: Annotated[list[Step], Field(min_length=1)]


class ParallelStep(_Step):
    """Run branches side by side; go on when all are done."""

    kind: Literal["parallel"]
    branches: Annotated[list[Branch], Field(min_length=2, max_length=10)]
    timeout_seconds: TimeoutSeconds = None
    compensate: EffectStep | None = None


class RepeatStep(_Step):
    """Run the steps once for each item of a list, one item after the other, as `item` and `index`."""

    kind: Literal["repeat"]
    over: Expression
    max_items: Annotated[int, Field(ge=1, le=100)]
    steps: Annotated[list[Step], Field(min_length=1)]
    timeout_seconds: TimeoutSeconds = None
    compensate: EffectStep | None = None


EffectStep = Annotated[EnqueueStep | HttpStep | UpdateArticleStep, Field(discriminator="kind")]
Step = Annotated[
    EnqueueStep | HttpStep | UpdateArticleStep | DelayStep | ApprovalStep | ConditionStep | ParallelStep | RepeatStep,
    Field(discriminator="kind"),
]
_TYPE_NAMES: Final = ("constrained-float", "constrained-int", "constrained-str")
KINDS: Final = ("enqueue", "http", "update-article", "delay", "approval", "condition", "parallel", "repeat")


class Definition(_Part):
    """A workflow. `outputs` are templates filled at the end; `timeout_hours` bounds a run, waiting included."""

    slug: Slug
    title: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=2_000)] = ""
    inputs: dict[StepId, InputField] = Field(default_factory=dict)
    steps: Annotated[list[Step], Field(min_length=1)]
    outputs: dict[StepId, JsonValue] = Field(default_factory=dict)
    timeout_hours: Annotated[float, Field(gt=0, le=90 * 24)] = DEFAULT_TIMEOUT_HOURS

    @field_validator("title")
    @classmethod
    def _one_line(cls, title: str) -> str:
        if not is_one_line(title):
            raise ValueError("must be one line of printable text")
        return title


for _model in (EnqueueStep, HttpStep, UpdateArticleStep, ConditionStep, Branch, ParallelStep, RepeatStep, Definition):
    _model.model_rebuild()


def read_definition(data: Any) -> Definition:
    """The definition in a JSON object.

    Raises:
        InvalidDefinition: names each faulty place and the problem.
    """
    if not isinstance(data, Mapping):
        raise InvalidDefinition([f"definition: must be a JSON object, not {type(data).__name__}"])
    try:
        return Definition.model_validate(data)
    except ValidationError as error:
        raise InvalidDefinition([_problem(item) for item in error.errors()[:20]]) from None
    except RecursionError:
        raise InvalidDefinition(["definition: nested too deep"]) from None


def _problem(item: Any) -> str:
    place = place_of(item["loc"])
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        given = repr(item["ctx"]["tag"]) if item["type"] == "union_tag_invalid" else "missing"
        allowed = KINDS[:3] if place.endswith("compensate") else KINDS
        return f"{place}.kind: {given}; there are {', '.join(allowed)}"
    if item["type"] == "extra_forbidden":
        return f"{place}: there is no such field"
    return f"{place}: {str(item['msg']).removeprefix('Value error, ')}"


def place_of(location: tuple[int | str, ...]) -> str:
    """A place as people write it: `steps[2].branches[0].steps[1].queue`.

    Pydantic puts the kind after each step's position, and a type where there is a choice of types; both are left
    out again here.
    """
    place = ""
    previous: int | str = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif (
            not (part in KINDS and (isinstance(previous, int) or previous == "compensate")) and part not in _TYPE_NAMES
        ):
            place += f".{part}" if place else part
        previous = part
    return place or "definition"
