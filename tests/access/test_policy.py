"""The table of roles and operations."""

from __future__ import annotations

import pytest

from teknav_ops.access.identity import Identity, current_identity, identity_now
from teknav_ops.access.policy import (
    LEAST_ROLE,
    SOME_QUEUE,
    Operation,
    Operator,
    Role,
    local_operator,
    needed_by,
    needs,
    require,
    searched_text,
)
from teknav_ops.errors import NotAllowed
from teknav_ops.settings import Settings

OWNER, VIEWER = Operator("sara", Role.OWNER), Operator("vida", Role.VIEWER)


def test_every_operation_has_a_least_role() -> None:
    assert set(LEAST_ROLE) == set(Operation)


def test_an_owner_may_do_all_and_a_viewer_only_read() -> None:
    for operation in Operation:
        require(OWNER, operation)
    allowed = {operation for operation in Operation if Identity(VIEWER, "session").may(operation)}

    assert allowed == {Operation.READ, Operation.METRICS}
    with pytest.raises(NotAllowed, match="act: vida is VIEWER; this needs an OPERATOR"):
        require(VIEWER, Operation.ACT)


def test_an_operator_keeps_queues_running_and_decides_neither_what_runs_nor_what_goes() -> None:
    allowed = {operation for operation in Operation if Operator("omid", Role.OPERATOR).may(operation)}

    assert allowed == {Operation.READ, Operation.METRICS, Operation.ACT}


def test_a_limit_to_queues_holds_for_all_but_looking() -> None:
    limited = Operator("omid", Role.OPERATOR, queues=("webhooks:*", "otp:send"))
    answers = {queue: limited.may(Operation.ACT, queue) for queue in ("webhooks:deliver", "otp:send", "email:send")}

    assert answers == {"webhooks:deliver": True, "otp:send": True, "email:send": False}
    assert limited.may(Operation.READ, "email:send") and limited.may(Operation.READ)
    # What belongs to no queue, or is about all of them, is not for who is limited.
    assert not limited.may(Operation.ACT) and limited.may(Operation.ACT, SOME_QUEUE)
    # A queue of that name would not be "some queue".
    assert not limited.may(Operation.ACT, "".join(SOME_QUEUE))
    for queue, where in (("email:send", "email:send"), (None, "every queue")):
        with pytest.raises(NotAllowed) as refused:
            require(limited, Operation.ACT, queue)
        assert str(refused.value) == f"act: omid is limited to webhooks:*, otp:send; this is about {where}"
        assert refused.value.operation == "act"


def test_a_method_is_asked_for_on_the_queue_that_it_is_called_with() -> None:
    class Door:
        _operator = Operator("omid", Role.OPERATOR, queues=("webhooks:*",))

        @needs(Operation.ACT)
        def on(self, queue: str | None, job: str = "") -> str:
            return f"{queue} {job}"

        @needs(Operation.ACT, of=lambda door: "webhooks:deliver")
        def on_its_own(self) -> str:
            return "done"

        @needs(Operation.ACT)
        def on_none(self) -> str:
            return "done"

    door = Door()
    assert door.on("webhooks:deliver") == door.on(queue="webhooks:deliver", job="") == "webhooks:deliver "
    assert door.on_its_own() == "done"
    for call in (lambda: door.on("otp:send"), lambda: door.on(queue="otp:send"), lambda: door.on(None), door.on_none,
                 lambda: door.on(7)):  # type: ignore[arg-type] # fmt: skip
        with pytest.raises(NotAllowed, match="limited to webhooks"):
            call()


def test_a_method_says_what_it_needs() -> None:
    @needs(Operation.MANAGE)
    def drop(self: object) -> None: ...

    assert needed_by(drop) is Operation.MANAGE
    assert needed_by(test_a_method_says_what_it_needs) is None


def test_only_who_may_read_payloads_of_a_queue_searches_in_them() -> None:
    of_webhooks = Operator("token:w", Role.OWNER, queues=("webhooks:*",))
    assert searched_text(OWNER, "sara@example.com") == "sara@example.com"
    assert searched_text(of_webhooks, "x", "webhooks:deliver") == "x"
    assert searched_text(VIEWER, None) is None

    for operator, queue in ((VIEWER, "email:send"), (VIEWER, None), (of_webhooks, "email:send"), (of_webhooks, None)):
        # An empty text is one, too: whether it is found tells that there is something.
        for text in ("x", ""):
            with pytest.raises(NotAllowed, match=r"^text: looks into payloads") as refused:
                searched_text(operator, text, queue)
            assert refused.value.operation == "read-payloads"


def test_whoever_is_at_the_command_line_is_an_owner() -> None:
    for is_report in (False, True):
        local = local_operator(Settings(report_run=is_report))

        assert all(local.may(operation) for operation in Operation) and local.role is Role.OWNER


def test_a_token_may_do_what_both_its_scopes_and_its_role_allow() -> None:
    scopes = frozenset({Operation.READ, Operation.METRICS})
    reader = Identity(Operator("token:r", Role.OWNER, scopes), "token")
    greedy_viewer = Identity(Operator("token:v", Role.VIEWER, frozenset({Operation.ACT})), "token")

    reader.require(Operation.READ)
    with pytest.raises(NotAllowed, match="act: the token has the scopes metrics, read only"):
        reader.require(Operation.ACT)
    assert not greedy_viewer.may(Operation.ACT)


def test_nobody_is_anybody_outside_of_a_request() -> None:
    assert current_identity.get() is None
    with pytest.raises(NotAllowed):
        identity_now()
