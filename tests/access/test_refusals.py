"""Refusals in AuditLog."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from teknav_ops.access import refusals
from teknav_ops.access.entrance import Entrance
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operator, Role
from teknav_ops.access.refusals import IN_ALL, PER_SUBJECT
from teknav_ops.errors import NotAllowed
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

Trail = Callable[[], list[AuditLog]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_700_000_000.0]
    monkeypatch.setattr(refusals.time, "time", lambda: now[0])
    return now


def refuse(entrance: Entrance, address: str = "10.0.0.1") -> bool:
    return entrance.refusals.record("user.refused", actor="vida", address=address, path="/x" * 500)


@pytest.mark.each_database
def test_a_few_a_minute_are_written_down_and_the_rest_counted(
    entrance: Entrance, trail: Trail, clock: list[float]
) -> None:
    assert [refuse(entrance) for _ in range(100)] == [True] * PER_SUBJECT + [False] * 95

    clock[0] += 60
    assert refuse(entrance)
    newest = trail()[-1]
    assert newest.outcome == "refused" and newest.actor == "vida"
    assert newest.detail is not None and newest.detail["not_recorded"] == 95
    assert len(newest.detail["path"]) <= 200


def test_many_addresses_together_cannot_fill_the_trail(entrance: Entrance, trail: Trail, clock: list[float]) -> None:
    written = [refuse(entrance, f"10.0.{number // 250}.{number % 250}") for number in range(300)]

    assert written.count(True) == IN_ALL == len(trail())
    clock[0] += 60
    assert refuse(entrance, "10.9.9.9") and refuse(entrance, "10.9.9.8")
    assert [entry.detail and entry.detail.get("not_recorded") for entry in trail()[-2:]] == [300 - IN_ALL, None]


def test_the_counts_of_refusals_go_by_themselves(
    entrance: Entrance, client: redis.Redis, trail: Trail, clock: list[float]
) -> None:
    for _ in range(PER_SUBJECT + 1):
        refuse(entrance)
        clock[0] += 60

    assert [entry.detail and entry.detail.get("not_recorded") for entry in trail()] == [None] * (PER_SUBJECT + 1)
    assert client.keys("*") and all(client.pttl(key) > 0 for key in client.keys("*"))


def test_only_a_missing_right_is_noted_and_an_outage_makes_no_other_answer_of_it(
    entrance: Entrance, trail: Trail, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    vida = Identity(Operator("vida", Role.VIEWER), "session", address="192.0.2.7")
    missing = NotAllowed("act: vida is VIEWER", operation="act")

    entrance.refusals.note(vida, NotAllowed("That is not your password."), path="/x")
    entrance.refusals.note(vida, missing, path="/x")
    nowhere = Database.open("postgresql+psycopg://nobody@127.0.0.1:1/nowhere?connect_timeout=1")
    monkeypatch.setattr(entrance.refusals, "_database", nowhere)
    entrance.refusals.note(vida, missing, path="/x")

    (entry,) = trail()
    assert (entry.actor, entry.detail) == ("vida", {"address": "192.0.2.7", "operation": "act", "path": "/x"})
    nowhere.dispose()
