"""What a page is: a question, what it reads, which events change it, and what can be done on it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Final, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from dashboards.visit import Visit
from teknav_ops.access.policy import SOME_QUEUE, Operation, needed_by
from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain

ROOT: Final = "/dashboard/owner"

Crumb = tuple[str, str | None]
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What an action says afterwards. `undo` names the action that takes it back; `data` is for the page itself."""

    text: str = ""
    undo: tuple[str, dict[str, Any]] | None = None
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def action(operation: Operation) -> Callable[[Method], Method]:
    """Let the page's visitors call this method, if they may do `operation`."""

    def declare(method: Method) -> Method:
        method.operation = operation  # type: ignore[attr-defined]
        return method

    return declare


class Page:
    """One open page. `load` answers all that it shows, as JSON; it is called in a thread, at first and after events."""

    #: Names the module in `assets/js/pages/` that draws it.
    name: ClassVar[str]
    #: Where it lives below ROOT; `{parameters}` come as keyword arguments of the route.
    path: ClassVar[str]
    #: Which entry of the navigation it belongs to.
    place: ClassVar[str]

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    def title(self) -> str:
        """Shown in the browser's tab."""
        raise AssertionError("each page has a title")

    def crumbs(self) -> list[Crumb]:
        """The way here: (text, address); the page itself has no address."""
        return [(self.title(), None)]

    def load(self) -> dict[str, Any]:
        """Everything the page shows. Raises InvalidRequest for a filter that cannot be."""
        raise AssertionError("each page loads something")

    def shared_as(self) -> Hashable | None:
        """What `load` depends on, if that is nothing of the visitor: pages that answer the same are loaded once."""
        return None

    def concerns(self, event: Any) -> bool:
        """Whether an event changes what is shown."""
        return True

    @action(Operation.ACT)
    def pause(self, queue: str) -> Outcome:
        """Hand out no more of a queue's jobs."""
        changed = self.visit.control.pause(queue)
        text = f"{queue} is paused; running jobs finish." if changed else f"{queue} was paused already."
        return Outcome(text, undo=("resume", {"queue": queue}) if changed else None)

    @action(Operation.ACT)
    def resume(self, queue: str) -> Outcome:
        """Hand out a queue's jobs again."""
        changed = self.visit.control.resume(queue)
        text = f"{queue} hands out jobs again." if changed else f"{queue} was not paused."
        return Outcome(text, undo=("pause", {"queue": queue}) if changed else None)

    @action(Operation.READ)
    def find(self, text: str) -> Outcome:
        """A job by its id, or jobs by their trace id, on any queue."""
        links = [
            {"href": job_path(queue, job_id), "queue": queue, "name": job.name if job else job_id,
             "state": job.state.value if job else "no longer kept"}
            for queue, job_id, job in self.visit.sources.find_jobs(text)
        ]  # fmt: skip
        return Outcome(data={"href": links[0]["href"]} if len(links) == 1 else {"hits": links})

    @action(Operation.READ)
    def confirm(self, password: str) -> Outcome:
        """Prove that this session is the visitor's own."""
        self.visit.sources.services.entrance.own.confirm(self.visit.identity, password)
        return Outcome()

    def act(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Do what the visitor asked for.

        Raises:
            NotAllowed: the visitor's role or scopes do not permit it.
            InvalidRequest: the page offers no such action, or not with these arguments.
        """
        method = getattr(self, name, None)
        operation = needed_by(method)
        if operation is None or method is None:
            raise InvalidRequest(f"action: this page offers no {name!r}")
        self.visit.identity.require(operation, self._queue_of(arguments))
        outcome: Outcome | None = method(**_checked(name, method, arguments))
        return outcome or Outcome()

    def _queue_of(self, arguments: Mapping[str, Any]) -> str:
        """The queue that an action is about: what does it asks again, of the queue that it really touches."""
        named = arguments.get("queue", self.visit.route.get("queue"))
        return named if isinstance(named, str) else SOME_QUEUE


def _checked(name: str, method: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the action's signature wants them: a browser may send anything. Raises InvalidRequest."""
    try:
        plain.check(dict(arguments))
        model = _arguments_of(getattr(method, "__func__", method)).model_validate(arguments)
    except plain.NotPlain as error:
        raise InvalidRequest(f"action: {name}: {error}") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = "; ".join(f"{plain.path_of(item['loc'])}: {item['msg']}" for item in found)
        raise InvalidRequest(f"action: {name}: {problems}") from None
    return {field: getattr(model, field) for field in type(model).model_fields}


@functools.cache
def _arguments_of(action: Callable[..., Any]) -> type[BaseModel]:
    """A model of the arguments an action takes, made of its signature."""
    hints = get_type_hints(action)
    parameters = list(inspect.signature(action).parameters.values())[1:]
    fields: dict[str, Any] = {
        each.name: (hints[each.name], ... if each.default is each.empty else each.default) for each in parameters
    }
    return create_model(action.__qualname__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def queue_path(queue: str, tab: str | None = None) -> str:
    """Address of a queue's page."""
    return f"{ROOT}/queues/{queue}" + (f"?tab={tab}" if tab else "")


def dlq_path(queue: str) -> str:
    """Address of a queue's dead letters."""
    return f"{ROOT}/queues/{queue}/dlq"


def job_path(queue: str, job_id: str) -> str:
    """Address of a job's page."""
    return f"{ROOT}/queues/{queue}/jobs/{job_id}"


def short(job_id: str) -> str:
    """The end of an id: ids begin with the time, so neighbours differ at the end."""
    return f"…{job_id[-8:]}"
