"""The table of roles and operations."""

from __future__ import annotations

import pytest

from teknav_ops.access.identity import Identity, current_identity, identity_now
from teknav_ops.access.policy import LEAST_ROLE, Operation, Operator, Role, require
from teknav_ops.errors import NotAllowed

OWNER, VIEWER = Operator("sara", Role.OWNER), Operator("vida", Role.VIEWER)


def test_every_operation_has_a_least_role() -> None:
    assert set(LEAST_ROLE) == set(Operation)


def test_an_owner_may_do_all_and_a_viewer_only_read() -> None:
    for operation in Operation:
        require(OWNER, operation)
    allowed = {operation for operation in Operation if Identity(VIEWER, "session").may(operation)}

    assert allowed == {Operation.READ, Operation.METRICS}
    with pytest.raises(NotAllowed, match="act: vida is VIEWER; this needs an OWNER"):
        require(VIEWER, Operation.ACT)


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
