"""The table of roles and operations."""

from __future__ import annotations

import pytest

from teknav_ops.access.identity import Identity, current_identity, identity_now
from teknav_ops.access.policy import LEAST_ROLE, SOME_QUEUE, Operation, Operator, Role, needs, require
from teknav_ops.errors import NotAllowed

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
    with pytest.raises(NotAllowed, match="act: omid is limited to webhooks:\\*, otp:send; this is about email:send"):
        require(limited, Operation.ACT, "email:send")


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


def test_a_token_may_do_what_both_its_scopes_and_its_role_allow() -> None:
    reader = Identity(Operator("token:r", Role.OWNER, frozenset({Operation.READ})), "token")
    greedy_viewer = Identity(Operator("token:v", Role.VIEWER, frozenset({Operation.ACT})), "token")

    reader.require(Operation.READ)
    with pytest.raises(NotAllowed, match="scopes read only"):
        reader.require(Operation.ACT)
    assert not greedy_viewer.may(Operation.ACT)


def test_nobody_is_anybody_outside_of_a_request() -> None:
    assert current_identity.get() is None
    with pytest.raises(NotAllowed):
        identity_now()
