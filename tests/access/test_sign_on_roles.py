"""Which role the provider's claims give, by the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from teknav_ops.access.policy import Role
from teknav_ops.access.sign_on_roles import Person, person_of
from teknav_ops.settings import Settings

SARA = {"sub": "7", "email": " Sara@TekNav.example ", "email_verified": True}
NAME = "sara@teknav.example"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        oidc_owners=("SARA@teknav.example",),
        oidc_owner_claim="groups=sre",
        oidc_viewer_claim="groups=readers",
        oidc_operator_claims={
            "groups=hooks": ["webhooks:*", "media:*"],
            "groups=codes": ["otp:send"],
            "groups=all": ["*"],
            "email=o@x.example": ["search:index"],
        },
    )


@pytest.mark.parametrize(
    ("claims", "person"),
    [
        (SARA, Person(NAME, Role.OWNER)),
        ({**SARA, "email_verified": "true"}, None),
        ({**SARA, "email_verified": False, "groups": "sre"}, Person("oidc:7", Role.OWNER)),
        ({"sub": "9", "groups": ["x", "sre"]}, Person("oidc:9", Role.OWNER)),
        ({"sub": "9", "groups": ["readers", "sre", "codes"]}, Person("oidc:9", Role.OWNER)),
        ({"sub": "9", "groups": ["readers", "codes"]}, Person("oidc:9", Role.OPERATOR, ("otp:send",))),
        (
            {"sub": "9", "groups": ["codes", "hooks"]},
            Person("oidc:9", Role.OPERATOR, ("media:*", "otp:send", "webhooks:*")),
        ),
        ({"sub": "9", "groups": ["codes", "all"]}, Person("oidc:9", Role.OPERATOR)),
        (
            {"sub": "9", "email": "o@x.example", "email_verified": True},
            Person("o@x.example", Role.OPERATOR, ("search:index",)),
        ),
        ({"sub": "9", "email": "o@x.example"}, None),
        ({"sub": "9", "groups": ["readers"]}, Person("oidc:9", Role.VIEWER)),
        ({"sub": "9", "groups": "readers"}, Person("oidc:9", Role.VIEWER)),
        ({"sub": "9", "groups": [["readers"], None, 7, "sre "]}, None),
        ({"sub": "9", "groups": {"readers": True}}, None),
        ({"sub": "9"}, None),
    ],
)
def test_claims_give_the_highest_role_that_they_meet(
    settings: Settings, claims: dict[str, Any], person: Person | None
) -> None:
    assert person_of(claims, settings) == person


def test_without_settings_nobody_has_a_role(tmp_path: Path) -> None:
    assert person_of({**SARA, "groups": ["", "sre"], "": ""}, Settings(data_dir=tmp_path)) is None
