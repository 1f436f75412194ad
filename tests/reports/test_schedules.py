"""Schedules are checked when they are read: what is wrong is named, with its entry and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.schedules import Deliver, schedule_of, schedules_of
from tests.reports.conftest import Set


def test_schedules_come_from_the_setting_or_from_a_file(settings_with: Set, tmp_path: Path) -> None:
    listed = [
        {"name": "typed", "cron": "0 8 * * *", "params": {"hours": 6}, "deliver": {"mail": ["SRE@Example.com"]}},
        {"name": "typed", "key": "weekly", "cron": "0 8 * * sat", "allow_replay": True},
    ]
    file = tmp_path / "reports.json"
    file.write_text(json.dumps(listed))

    inline = schedules_of(settings_with(report_schedules=json.dumps(listed)))
    assert inline == schedules_of(settings_with(report_schedules=f"@{file}"))
    assert [(entry.key, entry.allow_replay) for entry in inline] == [("typed", False), ("weekly", True)]
    assert inline[0].deliver == Deliver(mail=("SRE@example.com",))
    assert schedules_of(settings_with()) == ()
    assert schedule_of(settings_with(report_schedules=json.dumps(listed)), "weekly") == inline[1]


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ("{", "report_schedules: not JSON"),
        ("{}", "report_schedules: must be a JSON list"),
        ("@nowhere.json", "report_schedules: nowhere.json: No such file"),
        ([{"cron": "0 8 * * *"}], "report_schedules[0] (unnamed): name: Field required"),
        ([7], "report_schedules[0] (unnamed): entry: "),
        ([{"name": "typd"}], "report_schedules[0] (typd): report: no 'typd'"),
        ([{"name": "typed", "params": {"hors": 1}}], "report_schedules[0] (typed): param hors: typed has no such"),
        ([{"name": "typed", "params": {"hours": "many"}}], "param hours: 'many' is not a whole number"),
        ([{"name": "typed"}, {"name": "typed"}], "report_schedules[1] (typed): key: another entry has it"),
        ([{"name": "typed", "key": "a b"}], "report_schedules[0] (a b): key: "),
        ([{"name": "typed", "chron": "* * * * *"}], "report_schedules[0] (typed): chron: "),
        ([{"name": "typed", "deliver": {"mail": ["nobody"]}}], "report_schedules[0] (typed): deliver.mail: 'nobody'"),
        ([{"name": "typed", "deliver": {"webhook": "ftp://a"}}], "report_schedules[0] (typed): deliver.webhook: "),
    ],
)
def test_a_wrong_entry_is_refused_by_name_and_field(settings_with: Set, listed: Any, problem: str) -> None:
    text = listed if isinstance(listed, str) else json.dumps(listed)

    with pytest.raises(InvalidRequest) as refused:
        schedules_of(settings_with(report_schedules=text))

    assert problem in str(refused.value)


def test_an_entry_that_is_not_there_is_answered_with_those_that_are(settings_with: Set) -> None:
    settings = settings_with(report_schedules=json.dumps([{"name": "typed", "key": "weekly"}]))
    with pytest.raises(InvalidRequest, match="no entry 'typed'; there are: weekly"):
        schedule_of(settings, "typed")
