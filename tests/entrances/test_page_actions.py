"""Every action of every page × everybody, through the code that a browser's message reaches."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from bokeh.document import Document

from dashboards.open_page import OpenPage
from dashboards.pages import PAGES
from dashboards.reads import SharedReads
from dashboards.sources import Sources
from dashboards.visit import Visit
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation
from teknav_ops.audit.trail import AuditFilter, AuditTrail
from teknav_ops.errors import InvalidRequest
from teknav_ops.redis_state import keys
from tests.entrances.callers import Caller, Callers
from tests.entrances.prepared import PAUSED_QUEUE, QUEUE, WORDS, PreparedData
from tests.support.entry_points import PageAction, page_actions
from tests.support.web import PASSWORD, Web

_MAIL: Final = {"to": '"reader@example.com"', "subject": '"hello"', "text": '"hello"'}
ACTIONS: Final = page_actions()
MANAGING: Final = ("configure", "delete", "delete_listed", "preview_deletion", "purge", "replay_edited")
#: Users and tokens.
PEOPLE: Final = (
    "add_user",
    "set_role",
    "set_password",
    "disable_user",
    "enable_user",
    "remove_user",
    "create_token",
    "revoke_token",
)
#: What changes nothing in Redis but sessions.
OF_NO_QUEUE: Final = (Operation.READ, Operation.ADMINISTER)
SECOND_FACTOR: Final = {
    "begin_second_factor",
    "finish_second_factor",
    "new_recovery_codes",
    "end_second_factor",
    "reset_second_factor",
}
#: Each action once, on the first page that has it: pages share their parents' methods.
DISTINCT: Final = list({getattr(action.page, action.name): action for action in reversed(ACTIONS)}.values())


def arguments(action: PageAction, data: PreparedData, identity: Identity) -> dict[str, Any]:
    """What a click would send. A new action needs its arguments here."""
    own = {"user": identity.operator.name}
    on_queue, on_job = {"queue": QUEUE}, {"job_id": "dead-1"}
    known: dict[str, dict[str, Any]] = {
        "pause": on_queue, "resume": {"queue": PAUSED_QUEUE}, "find": {"text": "dead-1"},
        "promote": {**on_queue, "job_id": "delayed-1"}, "cancel": {**on_queue, "job_id": "waiting-1"},
        "run_again": {**on_queue, "job_id": "done-1"},
        "retry": {**on_queue, **on_job}, "inspect": on_job, "replay": on_job, "delete": on_job,
        "replay_edited": {**on_job, "payload": '{"to": "a@example.com", "subject": "x", "text": "y"}'},
        "preview": {"limit": 5, "name": "", "job_ids": None}, "purge": {"confirmation": QUEUE},
        "preview_deletion": {"limit": 5, "job_ids": None},
        "delete_listed": {"deletion_id": data.deletion, "reason": "test"},
        "start": {**on_queue, "replay_id": data.previewed, "rate": None},
        "abort": {**on_queue, "replay_id": data.running},
        "configure": {
            **on_queue, "concurrency": 3, "global_concurrency": 0, "rate_count": 0, "rate_period_ms": 0,
        },
        "enqueue": {
            **on_queue, "job": "send-email", "payload": _MAIL, "delay_seconds": 0.0, "idempotency_key": "",
        },
        "end_session": {**own, "session": data.spare_session(identity)}, "end_sessions": own,
        "add_user": {"name": "added-on-page", "role": "VIEWER", "password": PASSWORD},
        "set_role": {"user": "spare-page", "role": "OPERATOR"},
        "set_password": {"user": "spare-page", "password": PASSWORD},
        "disable_user": {"user": "spare-page"}, "enable_user": {"user": "spare-page"},
        "remove_user": {"user": "spare-page-remove"}, "revoke_token": {"token": "spare-page"},
        "create_token": {"name": "added-on-page", "scopes": ["metrics"], "role": "OWNER", "days": 1},
        "change_password": {"current": PASSWORD, "new": PASSWORD}, "confirm": {"password": PASSWORD},
        **{key: {} for key in SECOND_FACTOR}, "reset_second_factor": own, "finish_second_factor": {"code": "000000"},
    }  # fmt: skip
    return known[action.name]


def prepared_arguments(action: PageAction, data: PreparedData, identity: Identity) -> dict[str, Any]:
    """The same, for somebody for whom it is done: what must be there before is there."""
    if action.name not in SECOND_FACTOR:
        return arguments(action, data, identity)
    is_begun_only = action.name in ("begin_second_factor", "finish_second_factor")
    code = data.second_factor_of(identity, is_on=not is_begun_only)
    return {"code": code} if action.name == "finish_second_factor" else arguments(action, data, identity)


def opened(web: Web, action: PageAction, identity: Identity) -> OpenPage:
    """The page as it would be open in this visitor's browser."""
    sources = Sources(web.services)
    route = {"queue": QUEUE, "job_id": "dead-1", "name": "UnknownFile"}
    page = action.page(Visit(sources, identity, SharedReads(), route, {}))
    return OpenPage(
        page, Document(), ThreadPoolExecutor(1), current_identity=lambda: sources.current(identity),
        note_use=lambda: sources.services.note_use(identity),
    )  # fmt: skip


def test_there_are_actions_on_pages() -> None:
    assert {action.page for action in ACTIONS} == set(PAGES)
    assert len(ACTIONS) > 40


def test_an_action_needs_the_right_to_act_unless_it_is_known_to_need_another() -> None:
    others = {"find": Operation.READ, "inspect": Operation.READ, "enqueue": Operation.ENQUEUE}
    # What everybody may do to their own account.
    own = ("end_session", "end_sessions", "change_password", "confirm", *SECOND_FACTOR)
    others |= dict.fromkeys(own, Operation.READ)
    others |= dict.fromkeys(MANAGING, Operation.MANAGE)
    others |= dict.fromkeys(("reset_second_factor", *PEOPLE), Operation.ADMINISTER)

    assert {action.name: action.needs for action in ACTIONS} == {
        action.name: others.get(action.name, Operation.ACT) for action in ACTIONS
    }


def test_an_action_is_refused_to_who_may_not(web: Web, caller: Caller, prepared: PreparedData) -> None:
    if caller.identity is None or caller.is_forged:
        return  # Nobody's page does not open, and a forger has no page: see the sockets.
    before, wrong = prepared.state(), []
    for action in ACTIONS:
        if not caller.may(action.needs):
            answer = opened(web, action, caller.identity)._act(
                action.name, arguments(action, prepared, caller.identity)
            )
            if answer["ok"] or answer.get("data"):
                wrong.append((str(action), answer))
    after = prepared.state()
    prepared.reset()

    assert wrong == []
    assert after == before


def test_a_refused_action_is_in_the_audit_trail(web: Web, callers: Callers, prepared: PreparedData) -> None:
    identity = callers["viewer"].identity
    assert identity is not None
    identity = dataclasses.replace(identity, address="192.0.2.7")
    (purge,) = (action for action in DISTINCT if action.name == "purge")
    prepared.forget_refusals()

    for name in ("purge", "no such action"):
        assert not opened(web, purge, identity)._act(name, arguments(purge, prepared, identity))["ok"]

    refused = AuditFilter(action="user.refused", actor=identity.operator.name, text="purge")
    (entry,) = AuditTrail(web.services.database).page(refused).items
    assert (entry.outcome, entry.detail) == (
        "refused", {"address": "192.0.2.7", "operation": "manage", "page": "dlq", "page_action": "purge"},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["owner", "operator", "operator of the queues", "operator of other queues", "viewer"])
def test_an_action_is_done_for_who_may(web: Web, callers: Callers, prepared: PreparedData, name: str) -> None:
    caller, wrong = callers[name], []
    assert caller.identity is not None
    prepared.reset()
    for action in DISTINCT:
        if caller.may(action.needs):
            answer = opened(web, action, caller.identity)._act(
                action.name, prepared_arguments(action, prepared, caller.identity)
            )
            is_changed = prepared.reset()
            if not answer["ok"] or is_changed == (action.needs in OF_NO_QUEUE):
                wrong.append((str(action), answer, is_changed))
            if Operation.READ_PAYLOADS not in caller.rights and any(word in str(answer) for word in WORDS.values()):
                wrong.append((str(action), "tells what is in a payload", answer))

    assert wrong == []


def test_a_page_offers_what_its_visitor_may_and_says_why_it_offers_no_more(web: Web, caller: Caller) -> None:
    if caller.identity is None or not caller.is_let_in or caller.is_forged or caller.is_token:
        return
    shell = opened(web, ACTIONS[0], caller.identity)._shell(0)
    offered = {name: allowed is True or QUEUE in (allowed or ()) for name, allowed in shell["rights"].items()}

    assert offered == {name: caller.may(Operation(name)) for name in ("act", "manage", "enqueue")}
    assert (shell["limits"] is None) == caller.may(Operation.MANAGE)
    assert caller.may(Operation.ACT) or f"not act on it: {caller.name} is " in shell["limits"]


def test_a_page_asks_for_the_password_again_before_what_cannot_be_taken_back(
    web: Web, callers: Callers, prepared: PreparedData
) -> None:
    identity = callers["owner"].identity
    assert identity is not None
    session, before = keys.session(str(identity.session_id)), prepared.state()
    web.services.client.hset(session, mapping={"is_proved": 0})
    web.services.client.hdel(session, "proved_at_ms")
    asks = set()
    for action in DISTINCT:
        page = opened(web, action, identity)
        if action.name not in ("confirm", "change_password"):
            answer = page._act(action.name, prepared_arguments(action, prepared, identity))
            asks |= {action.name} if answer.get("confirm") == "password" else set()
            assert prepared.reset() <= answer["ok"]
    after = page._act("confirm", {"password": "not the password"}), page._act("confirm", {"password": PASSWORD})

    assert asks == {"purge", "delete_listed", *SECOND_FACTOR, *PEOPLE}
    assert [answer["ok"] for answer in after] == [False, True]
    assert prepared.state().keys() == before.keys()
    (purge,) = (action for action in DISTINCT if action.name == "purge")
    assert opened(web, purge, identity)._act("purge", arguments(purge, prepared, identity))["ok"]
    assert prepared.reset()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", ["load", "visit", "__init__", "act", "nothing", "concerns"])
def test_only_actions_can_be_called_from_a_browser(web: Web, callers: Callers, page: Any, name: str) -> None:
    owner = callers["owner"].identity
    assert owner is not None
    action = dataclasses.replace(ACTIONS[0], page=page)
    with pytest.raises(InvalidRequest, match="offers no"):
        opened(web, action, owner)._page.act(name, {})
