"""What a person is told: one message per rule and step, however many queues it concerns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict

from teknav_ops.alerts.conditions import Condition, condition_key
from teknav_ops.payloads.redaction import leaving

Event = Literal["opened", "resolved", "test"]

#: A text that is masked as it is put into a message.
Leaving = Annotated[str, AfterValidator(leaving)]

#: Queues named in the short text; all of them are in the data.
_NAMED_QUEUES: Final = 12


class AlertState(BaseModel):
    """One alert as it was opened, wherever it is kept. `told` names channels that got it while SQL was away.

    `current_…` is how it looked last, and when; None until it was looked at again.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    kind: str
    severity: str
    queue: str
    since_at: datetime
    opened_at: datetime
    value: float | None
    unit: str
    message: str
    told: tuple[str, ...] = ()
    is_recorded: bool = True
    current_value: float | None = None
    current_message: str | None = None
    current_at: datetime | None = None

    def looked_at(self, condition: Condition, at: datetime) -> AlertState:
        """The alert, with how its condition looks at this moment."""
        value = None if condition.value is None else round(condition.value, 3)
        return self.model_copy(update={"current_value": value, "current_message": condition.message, "current_at": at})

    @property
    def key(self) -> str:
        """What there is at most one open alert of."""
        return condition_key(self.rule, self.queue)

    @classmethod
    def of(cls, condition: Condition, *, since_at: datetime, opened_at: datetime) -> AlertState:
        """The alert that a condition opens."""
        facts = {name: getattr(condition, name) for name in ("rule", "kind", "severity", "queue", "unit", "message")}
        value = None if condition.value is None else round(condition.value, 3)
        return cls(**facts, value=value, since_at=since_at, opened_at=opened_at)


class NoticedAlert(BaseModel):
    """One alert in a message."""

    model_config = ConfigDict(frozen=True)

    queue: str
    value: float | None
    unit: str
    message: Leaving
    since_at: datetime
    opened_at: datetime
    resolved_at: datetime | None = None


class Notice(BaseModel):
    """One message. Its id is the same whenever and wherever the same thing is told."""

    model_config = ConfigDict(frozen=True)

    message_id: str
    event: Event
    rule: str
    kind: str
    severity: str
    at: datetime
    alerts: tuple[NoticedAlert, ...]
    runbook: str
    url: str | None = None

    @property
    def title(self) -> str:
        """`[page] no-heartbeat: email:send`, for a subject."""
        if self.event == "test":
            return "[test] alerts from TekNav arrive here"
        what = self.severity if self.event == "opened" else self.event
        queues = [alert.queue for alert in self.alerts]
        return f"[{what}] {self.rule}: {queues[0] if len(queues) == 1 else f'{len(queues)} queues'}"

    @property
    def text(self) -> str:
        """Everything a chat message needs, on few lines."""
        lines = [alert.message for alert in self.alerts[:_NAMED_QUEUES]]
        if len(self.alerts) > _NAMED_QUEUES:
            lines.append(f"and {len(self.alerts) - _NAMED_QUEUES} more")
        return "\n".join([self.title, *lines, f"Runbook: {self.runbook}", *([self.url] if self.url else [])])


def opened_notice(states: Sequence[AlertState], *, at: datetime, site_url: str | None) -> Notice:
    """That these alerts of one rule have opened."""
    alerts = [_noticed(state) for state in states]
    return _notice("opened", states, alerts, at, site_url)


def resolved_notice(
    states: Sequence[AlertState], resolutions: Sequence[str], *, at: datetime, site_url: str | None
) -> Notice:
    """That these alerts of one rule are over, and how it looks now."""
    alerts = [
        _noticed(state).model_copy(update={"message": leaving(resolution), "resolved_at": at})
        for state, resolution in zip(states, resolutions, strict=True)
    ]
    return _notice("resolved", states, alerts, at, site_url)


def runbook_page(kind: str) -> str:
    """The page that says what an alert of this kind means and what to do."""
    return f"docs/runbook/alerts/{''.join(part.capitalize() for part in kind.split('_'))}.md"


def by_rule(states: Iterable[AlertState]) -> list[list[AlertState]]:
    """The alerts of each rule together, in their order."""
    groups: dict[str, list[AlertState]] = {}
    for state in states:
        groups.setdefault(state.rule, []).append(state)
    return list(groups.values())


def _noticed(state: AlertState) -> NoticedAlert:
    return NoticedAlert(**state.model_dump(include=set(NoticedAlert.model_fields)))


def _notice(
    event: Event, states: Sequence[AlertState], alerts: Sequence[NoticedAlert], at: datetime, site_url: str | None
) -> Notice:
    first = states[0]
    return Notice(
        message_id=_message_id(event, states), event=event, rule=first.rule, kind=first.kind, severity=first.severity,
        at=at, alerts=tuple(alerts), runbook=runbook_page(first.kind), url=_link(states, site_url),
    )  # fmt: skip


def _message_id(event: Event, states: Sequence[AlertState]) -> str:
    """From what is told alone: whoever tells it again, after a crash or without SQL, uses the same id."""
    told = sorted(f"{state.key}|{state.since_at.isoformat()}" for state in states)
    digest = hashlib.blake2b("\n".join([event, *told]).encode(), digest_size=16).hexdigest()
    return f"alert_{digest}"


def _link(states: Sequence[AlertState], site_url: str | None) -> str | None:
    if site_url is None:
        return None
    pages = f"{site_url.rstrip('/')}/dashboard/owner"
    if states[0].kind.startswith("report_"):
        return f"{pages}/reports"
    queues = f"{pages}/queues"
    return f"{queues}/{quote(states[0].queue)}" if len(states) == 1 else queues
