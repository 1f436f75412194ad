"""Whose name stands in the audit trail: never one that somebody has only claimed."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teknav_ops.access.actors import check_actor, local_actor, provider_actor, system_user
from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import Operator, Role, local_operator
from teknav_ops.access.sign_on_roles import person_of
from teknav_ops.errors import InvalidRequest
from teknav_ops.one_line import is_one_line
from teknav_ops.settings import Settings
from tests.access.conftest import ROOT
from tests.support.operators import at_command_line

ME = pwd.getpwuid(os.getuid()).pw_name
CLAIMS = (
    *("token:x", "cli:root", "user:olga", "report:x (y)", "host:12", "olga)"),
    *("token:x\nINFO", "a\u2028b", "olga\u202e", "olga\0", " olga", "o" * 101),
)


def test_the_command_line_is_the_systems_user_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, "olga")

    assert local_operator(Settings(operator=None)).name == f"cli:{ME}"
    assert local_operator(Settings(operator="olga")).name == f"cli:{ME} (olga)" == at_command_line("olga")
    assert local_operator(Settings(operator="cronjob/نگار")).name == f"cli:{ME} (cronjob/نگار)"


@pytest.mark.parametrize("declared", CLAIMS)
def test_a_declared_name_is_one_line_and_looks_like_no_other_kind_of_actor(declared: str) -> None:
    with pytest.raises(InvalidRequest, match="TEKNAV_OPERATOR"):
        local_actor(declared, is_report=False)


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_whatever_is_declared_the_name_begins_with_the_systems_user(declared: str, is_report: bool) -> None:
    try:
        name = local_actor(declared, is_report=is_report)
    except InvalidRequest:
        return
    assert name.startswith(f"{'report' if is_report else 'cli'}:{ME}")
    assert is_one_line(name) and len(name) <= 200


@pytest.mark.parametrize("subject", ["a\u202eb", "\u2066a|b", "a\nb"])
def test_somebody_s_id_at_the_provider_is_read_in_one_order(subject: str) -> None:
    name = provider_actor("", subject)

    assert name == f"oidc:{''.join(sign if sign in 'ab|' else chr(0xFFFD) for sign in subject)}"


def test_a_report_names_who_had_it_run_beside_the_systems_user() -> None:
    given_by_runner = Settings(operator="token:ci", report_run=True)

    assert local_operator(given_by_runner).name == f"report:{ME} (token:ci)"


def test_a_user_without_an_entry_in_the_systems_list_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)

    assert system_user() == "uid-4000000001"


@settings(deadline=None)
@given(st.text(), st.text(min_size=1))
def test_the_providers_people_are_addresses_or_ids_on_one_line(address: str, subject: str) -> None:
    name = provider_actor(address, subject)

    check_actor(name)
    assert name.startswith("oidc:") or ("@" in name and ":" not in name)


@pytest.mark.parametrize("email", ["cli:root@example.com", "scheduler", "a@b\nc", "token:x", "a b@example.com"])
def test_an_address_that_could_be_taken_for_another_actor_does_not_count(email: str) -> None:
    claims: dict[str, Any] = {"email": email, "email_verified": True, "sub": "17\n", "groups": ["ops"]}

    person = person_of(claims, Settings(oidc_owner_claim="groups=ops"))

    assert person is not None and person.name == "oidc:17\ufffd"


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 201, "a\u2029"])
def test_no_operator_has_a_name_of_several_lines(name: str) -> None:
    with pytest.raises(InvalidRequest, match="actor: must be one line"):
        Operator(name, Role.OWNER)


@pytest.mark.parametrize("name", ["scheduler", "Producer", "WORKER", "demo"])
def test_no_user_has_the_systems_own_name(entrance: Entrance, name: str) -> None:
    with pytest.raises(InvalidRequest, match="the system itself"):
        entrance.users.add(ROOT, name, Role.VIEWER, "a long enough password")
