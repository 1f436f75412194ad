"""Profiles: another system by name, whole, and without a password anywhere near a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.api.services import Services
from teknav_ops.errors import InvalidRequest, NotAllowed
from teknav_ops.settings import Settings, get_settings
from teknav_ops.workbench import Workbench, connect
from tests.support.redis_server import RedisServer
from tests.support.web import settings_for

ROOT = Operator("root", Role.OWNER)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEKNAV_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TEKNAV_REDIS_URL", "redis://here.example:1/0")
    monkeypatch.setenv("TEKNAV_OPERATOR", "sara")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def write_profile(tmp_path: Path, text: str, name: str = "staging") -> None:
    (tmp_path / "profiles").mkdir(exist_ok=True)
    (tmp_path / "profiles" / f"{name}.toml").write_text(text)


def test_a_profile_stands_alone_but_for_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(
        tmp_path, '\ufeffredis_url = "redis://ops:secret@staging.example:2/0"\nTEKNAV_DATABASE_URL = "sqlite:///x"\n'
    )

    there = connect("staging").settings
    assert (there.redis_url, there.sql_url) == ("redis://ops:secret@staging.example:2/0", "sqlite:///x")
    assert there.operator == "sara" and connect().settings.redis_url == "redis://here.example:1/0"

    # Named once, for all notebooks.
    monkeypatch.setenv("TEKNAV_PROFILE", "staging")
    get_settings.cache_clear()
    assert connect().settings.redis_url == there.redis_url


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("production", 'data_dir = "x"', "there is no .*production.toml; profiles here: staging"),
        ("redis://:hunter2@h", 'data_dir = "x"', "must be a name such as `staging`"),
        ("../staging", 'data_dir = "x"', "must be a name such as `staging`"),
        ("staging", 'redis_url = "redis://h"', "must set data_dir, or both redis_url and database_url"),
        ("staging", 'data_dir = "x"\ncolour = 1', "'colour', which is no setting"),
        ("staging", "data_dir = ", "is not TOML"),
    ],
)
def test_a_wrong_profile_is_refused_with_what_to_write(tmp_path: Path, name: str, text: str, problem: str) -> None:
    write_profile(tmp_path, text)
    with pytest.raises(InvalidRequest, match=problem) as refused:
        connect(name)
    assert "hunter2" not in str(refused.value)


def test_a_tokens_bearer_acts_under_its_name_and_only_with_its_scope(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, redis_server.url)
    services = Services(settings)

    def bench_with(token: str) -> Workbench:
        return Workbench(Settings(**{**settings.model_dump(), "api_token": token}))

    acting, _ = services.entrance.tokens.create(
        ROOT, "notebook", role=Role.OWNER, scopes=(Operation.READ, Operation.ACT), life=None
    )
    reading, _ = services.entrance.tokens.create(
        ROOT, "reader", role=Role.OWNER, scopes=(Operation.READ,), life=None
    )  # fmt: skip
    assert bench_with(acting).operator.name.startswith("token")
    assert bench_with(acting).operator.role is Role.OWNER
    with pytest.raises(NotAllowed, match="lacks the scope `act`"):
        assert bench_with(reading).operator is None
    with pytest.raises(NotAllowed, match="TEKNAV_API_TOKEN"):
        assert bench_with("tko_nonsense").control is None
    services.close()
