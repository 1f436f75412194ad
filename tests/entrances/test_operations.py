"""Every operation behind the entry points × everybody: what an entry point forgets to ask is refused here."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from teknav_ops import batch_replay_door
from teknav_ops.access.freshness import FreshSignInNeeded
from teknav_ops.access.links import Links
from teknav_ops.access.policy import Operation, Operator, Role, needed_by
from teknav_ops.access.second_factor import SecondFactors
from teknav_ops.access.signed_in import SignedIn
from teknav_ops.access.tokens import Tokens
from teknav_ops.access.users import Users
from teknav_ops.alerts.silences import Silences
from teknav_ops.audit_chain_door import AuditChain
from teknav_ops.control import Control
from teknav_ops.errors import NotAllowed, TekNavError
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.platform.plugins import Plugins
from teknav_ops.platform.webhook_endpoints import WebhookEndpoints
from teknav_ops.platform.workflow_runs import WorkflowRuns
from teknav_ops.secret_rotation.secret_keys import SecretKeys
from tests.entrances.callers import Caller, Callers
from tests.entrances.prepared import PAUSED_QUEUE, QUEUE, PreparedData
from tests.support.entry_points import classes_with_operations, public_methods
from tests.support.web import PASSWORD, Web

#: What only reads; lists that come with the operations of the platform, for the command line.
READING: Final = {
    "WorkflowRuns.saved", "WorkflowRuns.runs", "WorkflowRuns.show", "Plugins.installed", "Plugins.executions",
    "WebhookEndpoints.endpoints", "WebhookEndpoints.deliveries", "Users.page", "Users.find", "Users.by_id",
    "Users.count", "Users.named", "SecondFactors.of", "Tokens.page", "Tokens.recognise",
    "Tokens.live_ids",
}  # fmt: skip
#: Asked while somebody signs in, before there is anybody who could have a right.
SIGNING_IN: Final = {
    "SecondFactors.accept",
    "Users.note_sign_in",
    "Users.note_password",
    "Links.take",
    "Links.look",
    "Links.for_first_owner",
}
#: What everybody may do to their own account, once `OwnAccount` has seen the password: see access/.
OWN: Final = {
    "Users.set_own_password",
    "SecondFactors.begin",
    "SecondFactors.begun",
    "SecondFactors.confirm",
    "SecondFactors.new_recovery_codes",
    "SecondFactors.turn_off",
}
#: What destroys, or decides what runs, and not only when.
_MANAGING: Final = re.compile(
    r"Control\.(configure|delete|delete_listed|preview_deletion|purge)|WorkflowRuns\.save|(Plugins|WebhookEndpoints)\..*"
)
_MAIL: Final = {"to": "reader@example.com", "subject": "hello", "text": "hello"}
_PARTS: Final[tuple[type[Any], ...]] = (
    Control,
    WorkflowRuns,
    Plugins,
    WebhookEndpoints,
    SecretKeys,
    AuditChain,
    Silences,
    Users,
    Tokens,
    Links,
    SignedIn,
    SecondFactors,
)


def operations() -> list[str]:
    """Everything that changes something, by class and method."""
    found = {f"{kind.__name__}.{name}" for kind in _PARTS for name in public_methods(kind)}
    return sorted(found - READING - SIGNING_IN - OWN)


def calls(web: Web, operator: Operator, data: PreparedData) -> dict[str, Callable[[], Any]]:
    """How each is called so that it does something. A new operation needs its call here."""
    services = web.services
    control = services.control(operator)
    silences = Silences(operator, services.operator_log, {"waiting"})
    entrance, kept = services.entrance, timedelta(hours=1)
    return {
        "Control.pause": lambda: control.pause(QUEUE),
        "Control.resume": lambda: control.resume(PAUSED_QUEUE),
        "Control.configure": lambda: control.configure(QUEUE, concurrency=3),
        "Control.retry": lambda: control.retry(QUEUE, "dead-1"),
        "Control.replay": lambda: control.replay(QUEUE, "dead-1"),
        "Control.promote": lambda: control.promote(QUEUE, "delayed-1"),
        "Control.cancel": lambda: control.cancel(QUEUE, "waiting-1"),
        "Control.run_again": lambda: control.run_again(QUEUE, "done-1"),
        "Control.delete": lambda: control.delete(QUEUE, "dead-1"),
        "Control.purge": lambda: control.purge(QUEUE, confirmation=QUEUE),
        "Control.preview_deletion": lambda: control.preview_deletion(QUEUE, DeadLetterFilter(), limit=5),
        "Control.delete_listed": lambda: control.delete_listed(QUEUE, data.deletion, reason="test"),
        "Control.preview_replay": lambda: control.preview_replay(QUEUE, DeadLetterFilter(), limit=5),
        "Control.start_replay": lambda: control.start_replay(QUEUE, data.previewed),
        "Control.run_replay": lambda: control.run_replay(QUEUE, data.previewed),
        "Control.abort_replay": lambda: control.abort_replay(QUEUE, data.running),
        "SecretKeys.status": lambda: control.keys.status(),
        "SecretKeys.reencrypt": lambda: control.keys.reencrypt(),
        "AuditChain.accept": lambda: control.audit_chain.accept(reason="test"),
        "WorkflowRuns.save": lambda: control.workflows.save({}),
        "WorkflowRuns.approve": lambda: control.workflows.approve(1, "step"),
        "WorkflowRuns.reject": lambda: control.workflows.reject(1, "step"),
        "WorkflowRuns.cancel": lambda: control.workflows.cancel(1),
        "Plugins.install": lambda: control.plugins.install(b"", {}),
        "Plugins.enable": lambda: control.plugins.enable("none"),
        "Plugins.disable": lambda: control.plugins.disable("none"),
        "WebhookEndpoints.add": lambda: control.webhooks.add("one", "https://example.com/hook"),
        "WebhookEndpoints.enable": lambda: control.webhooks.enable("one"),
        "WebhookEndpoints.disable": lambda: control.webhooks.disable("one", reason="test"),
        "WebhookEndpoints.rotate_secret": lambda: control.webhooks.rotate_secret("one", overlap=kept),
        "Silences.silence": lambda: silences.silence("waiting", QUEUE, span=kept, reason="test"),
        "Silences.end": lambda: silences.end("waiting", QUEUE),
        "Users.add": lambda: entrance.users.add(operator, "owner", Role.OWNER, PASSWORD),
        "Users.set_password": lambda: entrance.users.set_password(operator, "victim", PASSWORD),
        "Users.set_role": lambda: entrance.users.set_role(operator, "victim", Role.VIEWER),
        "Users.disable": lambda: entrance.users.disable(operator, "victim"),
        "Users.enable": lambda: entrance.users.enable(operator, "victim"),
        "Users.remove": lambda: entrance.users.remove(operator, "victim"),
        "SecondFactors.reset": lambda: entrance.factors.reset(operator, "victim"),
        "SignedIn.of": lambda: entrance.signed_in.of(operator, "victim"),
        "SignedIn.end": lambda: entrance.signed_in.end(operator, "victim", "none"),
        "SignedIn.end_all": lambda: entrance.signed_in.end_all(operator, "victim"),
        "Tokens.create": lambda: entrance.tokens.create(operator, "new", role=Role.OWNER, scopes=[], life=None),
        "Tokens.revoke": lambda: entrance.tokens.revoke(operator, "none"),
        "Links.for_user": lambda: entrance.links.for_user(operator, "victim"),
    }


def needs_of(name: str) -> Operation | None:
    """What the code says an operation needs. Those on users and tokens are told who asks as `by`."""
    kind, _, method_name = name.partition(".")
    (method,) = (public_methods(part)[method_name] for part in _PARTS if part.__name__ == kind)
    is_told_who = "by" in inspect.signature(method).parameters
    return Operation.ADMINISTER if is_told_who else needed_by(method)


def queue_of(name: str) -> str | None:
    """The queue that the call below is about; None for what belongs to none."""
    if name.startswith("Control.resume"):
        return PAUSED_QUEUE
    if name.startswith(("Control.", "Silences.")):
        return QUEUE
    # A definition belongs to no queue; a run to that of runs.
    return "workflows:run" if name.startswith("WorkflowRuns.") and name != "WorkflowRuns.save" else None


def test_every_operation_says_what_it_needs(web: Web, callers: Callers, prepared: PreparedData) -> None:
    needed = {name: needs_of(name) for name in operations()}

    administer = {kind.__name__ for kind in (Users, Tokens, Links, SignedIn, SecondFactors, SecretKeys, AuditChain)}
    rights = {name: Operation.ADMINISTER if name.partition(".")[0] in administer else Operation.ACT for name in needed}
    assert needed == rights | dict.fromkeys(filter(_MANAGING.fullmatch, needed), Operation.MANAGE)
    assert set(calls(web, Operator("owner", Role.OWNER), prepared)) == set(needed)


#: What cannot be taken back or changes who may enter, and so needs a fresh sign-in; and what does not. A new operation
#: must be in one of the two.
DESTRUCTIVE: Final = {
    "Control.delete_listed",
    "Control.purge",
    "Links.for_user",
    "SecondFactors.reset",
    "SignedIn.end",
    "SignedIn.end_all",
    "Tokens.create",
    "Tokens.revoke",
    "Users.add",
    "Users.disable",
    "Users.enable",
    "Users.remove",
    "Users.set_password",
    "Users.set_role",
}
NOT_DESTRUCTIVE: Final = {
    "AuditChain.accept",
    "Control.abort_replay",
    "Control.cancel",
    "Control.configure",
    "Control.delete",
    "Control.pause",
    "Control.preview_deletion",
    "Control.preview_replay",
    "Control.promote",
    "Control.replay",
    "Control.resume",
    "Control.retry",
    "Control.run_again",
    "Control.run_replay",
    "Control.start_replay",
    "Plugins.disable",
    "Plugins.enable",
    "Plugins.install",
    "SecretKeys.reencrypt",
    "SecretKeys.status",
    "SignedIn.of",
    "Silences.end",
    "Silences.silence",
    "WebhookEndpoints.add",
    "WebhookEndpoints.disable",
    "WebhookEndpoints.enable",
    "WebhookEndpoints.rotate_secret",
    "WorkflowRuns.approve",
    "WorkflowRuns.cancel",
    "WorkflowRuns.reject",
    "WorkflowRuns.save",
}


def test_what_destroys_much_or_changes_who_may_enter_needs_a_fresh_sign_in(web: Web, prepared: PreparedData) -> None:
    assert set(operations()) == DESTRUCTIVE | NOT_DESTRUCTIVE
    before = prepared.state()
    stale = Operator("owner", Role.OWNER, proof_wanted_minutes=10)
    asked = calls(web, stale, prepared)
    refused = {name for name in DESTRUCTIVE if _outcome(asked[name]) == "refused"}

    assert refused == DESTRUCTIVE
    assert prepared.state() == before
    refused = {name for name in NOT_DESTRUCTIVE if _outcome(asked[name]) == "refused"}
    prepared.reset()
    assert refused == set()


@pytest.mark.parametrize("name", ["start_replay", "run_replay"])
def test_a_replay_of_many_needs_a_fresh_sign_in(
    web: Web, prepared: PreparedData, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stale = web.services.control(Operator("owner", Role.OWNER, proof_wanted_minutes=10))
    assert web.services.replays.get(QUEUE, prepared.previewed).total_count == 2
    monkeypatch.setattr(batch_replay_door, "MANY_JOBS", 1)

    with pytest.raises(FreshSignInNeeded):
        getattr(stale, name)(QUEUE, prepared.previewed)

    assert not prepared.reset()
    monkeypatch.setattr(batch_replay_door, "MANY_JOBS", 2)
    getattr(stale, name)(QUEUE, prepared.previewed)
    assert prepared.reset()


def test_no_class_with_operations_is_left_out() -> None:
    tried = {parent.__name__ for part in _PARTS for parent in part.__mro__}

    # `Services` does nothing itself: it gives out the others, and producers, which are tried below.
    assert classes_with_operations() - tried == {"Services"}


def test_an_operation_is_done_for_who_may_and_refused_to_others(
    web: Web, caller: Caller, prepared: PreparedData
) -> None:
    if caller.identity is None or not caller.is_let_in or caller.is_forged:
        return
    before, wrong, is_done = prepared.state(), [], False
    for name, call in calls(web, caller.identity.operator, prepared).items():
        needed = needs_of(name)
        is_wanted = needed is not None and caller.may(needed, queue_of(name))
        outcome = _outcome(call)
        if is_wanted != (outcome != "refused"):
            wrong.append((name, outcome))
        is_done = is_done or is_wanted
        if is_wanted:
            is_changed = prepared.reset()
            if name.startswith("Control.") and (outcome != "done" or not is_changed):
                wrong.append((name, outcome, "changed nothing"))

    assert wrong == []
    assert is_done or prepared.state() == before


def _outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except NotAllowed:
        return "refused"
    except TekNavError as error:
        # Let in, and told that what is asked for is not there.
        return type(error).__name__
    return "done"


def test_a_job_is_created_for_who_may_enqueue_there(web: Web, caller: Caller, prepared: PreparedData) -> None:
    if caller.identity is not None and caller.is_let_in:
        operator = caller.identity.operator
        outcome = _outcome(lambda: web.services.producer(operator).enqueue(QUEUE, "send-email", _MAIL))
        assert (outcome == "done", prepared.reset()) == (caller.may(Operation.ENQUEUE),) * 2
