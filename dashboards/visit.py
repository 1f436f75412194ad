"""A visit: who opened a page, where, and with which filters."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeVar

from dashboards.reads import SharedReads
from dashboards.sources import Sources
from teknav_ops.access.identity import Identity
from teknav_ops.access.masking import masked, masked_text
from teknav_ops.access.policy import Operation, Operator, searched_text
from teknav_ops.control import Control
from teknav_ops.errors import InvalidRequest

PAGE_SIZE: Final = 50
_Option = TypeVar("_Option", bound=str)
_SHOWN_RIGHTS: Final = (Operation.ACT, Operation.MANAGE, Operation.ENQUEUE)


@dataclasses.dataclass(slots=True)
class Visit:
    """`query` is the address's filters; it changes while the page is open."""

    sources: Sources
    identity: Identity
    reads: SharedReads
    route: dict[str, str]
    query: dict[str, str]

    @property
    def operator(self) -> Operator:
        """Who is looking."""
        return self.identity.operator

    def rights(self) -> dict[str, bool | list[str]]:
        """Which buttons are shown: True on every queue, or the queues. Each action is checked again when asked for."""
        return {operation.value: self._queues_for(operation) for operation in _SHOWN_RIGHTS}

    def _queues_for(self, operation: Operation) -> bool | list[str]:
        if self.identity.may(operation):
            return True
        return [queue for queue in self.sources.topology if self.identity.may(operation, queue)]

    def limits(self) -> str | None:
        """Why buttons are missing on a page of one queue, for its visitor to read; None where none is."""
        queue = self.route.get("queue")
        if queue is None or self.identity.may(Operation.MANAGE, queue):
            return None
        if self.identity.may(Operation.ACT, queue):
            return "Limits, payloads, new jobs, deleting and purging need an OWNER."
        return f"You may look at {queue}, not act on it: {self.operator.why_not(Operation.ACT, queue)}."

    @property
    def control(self) -> Control:
        """The operators' door, under the visitor's name."""
        return self.sources.control(self.operator)

    def masked(self, value: Any) -> Any:
        """A payload or result as this visitor may see it: whole, or with its values replaced by their types."""
        return value if self.identity.may(Operation.READ_PAYLOADS) else masked(value)

    def masked_text(self, text: str) -> str:
        """An error or a note, which may quote a payload, as this visitor may see it."""
        return text if self.identity.may(Operation.READ_PAYLOADS) else masked_text(text)

    def filter(self, name: str) -> str | None:
        """One filter; None when it is not set."""
        return self.query.get(name) or None

    def searched_text(self) -> str | None:
        """The filter that looks inside payloads and errors. Raises NotAllowed for who may not read them."""
        return searched_text(self.operator, self.filter("text"))

    def cursor(self) -> str | None:
        """After what the list shown goes on; None at its beginning. Who reads the list refuses what is no cursor."""
        return self.filter("page")

    def choice(self, name: str, options: tuple[_Option, ...]) -> _Option:
        """A filter that is one of `options`; the first when it is not set. Raises InvalidRequest."""
        asked = self.query.get(name) or options[0]
        chosen = next((option for option in options if option == asked), None)
        if chosen is None:
            raise InvalidRequest(f"{name}: {asked!r} is not one of {', '.join(options)}")
        return chosen
