"""The policy: which role an operation needs, which scope of a token, and on which queues.

One table and one check (`Operator.why_not`), asked by the guard, the routes, the pages, the command line and `Control`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

from teknav_ops.access.actors import check_actor, local_actor
from teknav_ops.access.freshness import require_fresh
from teknav_ops.access.quota import Quota
from teknav_ops.errors import NotAllowed
from teknav_ops.queue_patterns import ALL_QUEUES, QueuePatterns, covers, is_every_queue
from teknav_ops.settings import Settings


class Role(enum.StrEnum):
    """OWNER may do all; OPERATOR keeps queues running, payloads masked; VIEWER reads, payloads masked."""

    OWNER = "OWNER"
    OPERATOR = "OPERATOR"
    VIEWER = "VIEWER"


class Operation(enum.StrEnum):
    """What can be done. A token's scopes are operations; ADMINISTER is never given to a token."""

    #: See queues, jobs, dead letters, audit, reports: on every queue.
    READ = "read"
    #: See what is inside payloads, results and errors. Goes with `read` in a token's scopes.
    READ_PAYLOADS = "read-payloads"
    #: Pause, resume, retry, promote, cancel, replay, run again, silence alerts. What it does can be taken back, or runs
    #: a job as its producer made it.
    ACT = "act"
    #: Change limits, replay with another payload, delete, purge, plugins, webhooks, workflows. Goes with `act` in a
    #: token's scopes.
    MANAGE = "manage"
    #: Create jobs.
    ENQUEUE = "enqueue"
    #: Scrape /metrics.
    METRICS = "metrics"
    #: Users and tokens.
    ADMINISTER = "administer"


#: The least role for each operation.
LEAST_ROLE: Final[Mapping[Operation, Role]] = MappingProxyType(
    {
        Operation.READ: Role.VIEWER,
        Operation.READ_PAYLOADS: Role.OWNER,
        Operation.ACT: Role.OPERATOR,
        Operation.MANAGE: Role.OWNER,
        Operation.ENQUEUE: Role.OWNER,
        Operation.METRICS: Role.VIEWER,
        Operation.ADMINISTER: Role.OWNER,
    }
)
_RANK: Final = {role: rank for rank, role in enumerate((Role.VIEWER, Role.OPERATOR, Role.OWNER))}
#: What an operator who is limited to queues may do on any queue; all else is for their queues.
_ON_EVERY_QUEUE: Final = frozenset({Operation.READ, Operation.METRICS})
#: Operations that come with a scope of a token, where the role allows them.
COMES_WITH: Final[Mapping[Operation, Operation]] = MappingProxyType(
    {Operation.READ: Operation.READ_PAYLOADS, Operation.ACT: Operation.MANAGE}
)

#: A person may do whatever the role allows.
ALL_OPERATIONS: Final = frozenset(Operation)
#: Asks whether an operation is allowed on some queue or other; which one is asked before anything is done.
SOME_QUEUE: Final = "some queue"


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Who is acting. The name goes into every audit entry; scopes and queues limit what the role allows."""

    name: str
    role: Role
    scopes: frozenset[Operation] = ALL_OPERATIONS
    queues: QueuePatterns = ALL_QUEUES
    #: How many jobs it may make; None: as many as it likes.
    quota: Quota | None = None
    #: More than 0: a session that proved too long ago whose it is; it must have been within so many minutes.
    proof_wanted_minutes: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a name that is not one line of text: it stands in logs, lists and AuditLog."""
        check_actor(self.name)

    def may(self, operation: Operation, queue: str | None = None) -> bool:
        """Whether the operation is allowed on this queue; without one, on all of them."""
        return self.why_not(operation, queue) is None

    def why_not(self, operation: Operation, queue: str | None = None) -> str | None:
        """What stands against an operation on a queue, for people to read; None where it is allowed.

        Without a queue it is asked of all of them, and of what belongs to none.
        """
        if not is_allowed(self.role, operation):
            least = LEAST_ROLE[operation]
            return f"{self.name} is {self.role}; this needs an {least}"
        if operation not in self.scopes:
            return f"the token has the scopes {', '.join(sorted(self.scopes))} only"
        if operation in _ON_EVERY_QUEUE or queue is SOME_QUEUE or is_every_queue(self.queues):
            return None
        if queue is not None and covers(self.queues, queue):
            return None
        where = "every queue" if queue is None else queue
        return f"{self.name} is limited to {', '.join(self.queues)}; this is about {where}"


def local_operator(settings: Settings) -> Operator:
    """The person at this command line, or behind this report. Whoever can read the settings holds every secret
    already: an OWNER.

    Raises:
        InvalidRequest: TEKNAV_OPERATOR is no name.
    """
    return Operator(local_actor(settings.operator, is_report=settings.report_run), Role.OWNER)


def is_allowed(role: Role, operation: Operation) -> bool:
    """Whether the role is enough for the operation."""
    return _RANK[role] >= _RANK[LEAST_ROLE[operation]]


def least_role(operations: Iterable[Operation], *, at_least: Role = Role.VIEWER) -> Role:
    """The least role that is enough for all of these operations."""
    return max((at_least, *(LEAST_ROLE[operation] for operation in operations)), key=_RANK.__getitem__)


def require(operator: Operator, operation: Operation, queue: str | None = None) -> None:
    """Raises NotAllowed unless role, scopes and queues are enough for the operation on this queue (None: on all)."""
    why_not = operator.why_not(operation, queue)
    if why_not is not None:
        raise NotAllowed(f"{operation}: {why_not}", operation=operation.value)


def require_to_administer(operator: Operator) -> None:
    """Users or tokens are about to be changed: asks for the right, and for a fresh sign-in.

    Raises:
        NotAllowed: no right. FreshSignInNeeded: the session proved too long ago whose it is.
    """
    require(operator, Operation.ADMINISTER)
    require_fresh(operator)


def searched_text(operator: Operator, text: str | None, queue: str | None = None) -> str | None:
    """A filter that looks inside payloads, errors or details, of one queue or of all.

    Every list that can be searched takes its text from here: an answer that depends on a payload tells what is in it.

    Raises:
        NotAllowed: there is a text, and the operator may not read payloads.
    """
    if text is not None and not operator.may(Operation.READ_PAYLOADS, queue):
        words = "text: looks into payloads, and your role or token may not read them"
        raise NotAllowed(words, operation=Operation.READ_PAYLOADS.value)
    return text


Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def needs(
    operation: Operation, *, of: Callable[[Any], str] | None = None
) -> Callable[[Callable[Parameters, Answer]], Callable[Parameters, Answer]]:
    """Let a method run only for an operator (`self._operator`) who may do `operation`; nothing is read before.

    It is asked of the queue that `of` says of `self`, or that is passed as the parameter `queue`. Where there is
    neither, or it is None, it is asked of every queue.
    """

    def declare(method: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        parameters = list(inspect.signature(method).parameters)
        place = parameters.index("queue") if "queue" in parameters else None

        @functools.wraps(method)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            operator: Operator = args[0]._operator  # type: ignore[attr-defined]
            queue = of(args[0]) if of is not None else _passed(place, args, kwargs)
            require(operator, operation, queue)
            return method(*args, **kwargs)

        checked.operation = operation  # type: ignore[attr-defined]
        return checked

    return declare


def _passed(place: int | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    if place is None:
        return None
    queue = args[place] if len(args) > place else kwargs.get("queue")
    # Whatever else was passed names no queue, and the method will say so.
    return queue if queue is None or isinstance(queue, str) else ""


def needed_by(function: Any) -> Operation | None:
    """The operation that a function or method was declared to need; None where none was."""
    return getattr(function, "operation", None)
