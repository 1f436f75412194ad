"""Parameters: what a notebook takes is what papermill sees, and nothing else gets in."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import papermill
import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.catalogue import Catalogue, UnknownReport
from teknav_ops.reports.parameters import check_parameters, parse_pairs
from teknav_ops.settings import Settings
from tests.support.scale import scaled


def test_every_notebook_of_ours_takes_what_papermill_would_inject() -> None:
    catalogue = Catalogue(Settings().notebooks_root)
    reports = [catalogue.get(name) for name in catalogue.names()]

    assert reports
    for report in reports:
        inspected = papermill.inspect_notebook(str(report.path))
        assert report.parameters.keys() == inspected.keys()
        for name, parameter in report.parameters.items():
            assert inspected[name]["inferred_type_name"].split("|")[0].strip() in (parameter.type, "None"), name


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"hours": "6"}, {"hours": 6}),
        ({"hours": 6, "share": "0.25", "is_deep": "yes"}, {"hours": 6, "share": 0.25, "is_deep": True}),
        ({"share": 1}, {"share": 1.0}),
        ({"queue": "صف", "since": "none"}, {"queue": "صف", "since": None}),
        ({"since": "2026-11-24"}, {"since": "2026-11-24"}),
        ({"profile": "staging"}, {"profile": "staging"}),
    ],
)
def test_texts_become_what_the_parameter_is(notebooks: Path, given: dict[str, Any], values: dict[str, Any]) -> None:
    report = Catalogue(notebooks).get("typed")

    checked = check_parameters("typed", report.parameters, given)

    assert checked == values
    assert [type(value) for value in checked.values()] == [type(value) for value in values.values()]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"hours": "6.5"}, "param hours: '6.5' is not a whole number (hours: int = 24)"),
        ({"hours": True}, "param hours: True is not a whole number"),
        ({"hours": None}, "param hours: must be set"),
        ({"share": "nan"}, "param share: 'nan' is not a number"),
        ({"is_deep": "maybe"}, "param is_deep: 'maybe' is not true or false"),
        ({"queue": 7}, "param queue: 7 is not a text"),
        ({"hour": "6"}, "param hour: typed has no such parameter. Did you mean hours? It takes: hours: int = 24;"),
        ({"profile": "redis://ops:hunter2@db"}, "param profile: must be a name such as staging"),
        ({"queue": "redis://ops:hunter2@db"}, "param queue: holds a password"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(notebooks: Path, given: dict[str, Any], problem: str) -> None:
    report = Catalogue(notebooks).get("typed")

    with pytest.raises(InvalidRequest) as refused:
        check_parameters("typed", report.parameters, given)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_report_is_never_interactive(notebooks: Path) -> None:
    known = Catalogue(notebooks).get("charts").parameters

    assert check_parameters("charts", known, {}) == {"interactive": False}
    with pytest.raises(InvalidRequest, match="interactive: a report runs unattended"):
        check_parameters("charts", known, {"interactive": "true"})


def test_pairs_are_read_and_a_broken_one_is_not_repeated() -> None:
    assert parse_pairs(["hours=6", "queue=a=b"]) == {"hours": "6", "queue": "a=b"}
    with pytest.raises(InvalidRequest, match="name=value") as refused:
        parse_pairs(["hunter2"])
    assert "hunter2" not in str(refused.value)
    with pytest.raises(InvalidRequest, match="given twice"):
        parse_pairs(["a=1", "a=2"])


@pytest.mark.parametrize("name", ["chart", "../typed", "assets", "", "a/b"])
def test_what_is_no_report_is_unknown(notebooks: Path, name: str) -> None:
    with pytest.raises(UnknownReport, match="report: no"):
        Catalogue(notebooks).get(name)


def test_a_parameter_without_a_type_makes_the_notebook_unusable(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "queues: list = []"}
    (tmp_path / "loose.ipynb").write_text('{"cells": [' + __import__("json").dumps(cell) + "]}")

    with pytest.raises(InvalidRequest, match="parameter queues: declare it as one of int, float, bool, str"):
        Catalogue(tmp_path).get("loose")


class Garbage:
    """Something that can only be collected, and then gives the turn to another thread."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


def test_reports_are_read_by_several_threads_at_once(notebooks: Path) -> None:
    catalogue, seen = Catalogue(notebooks), Counter[str]()
    before = gc.get_threshold()

    def read() -> None:
        for _ in range(scaled(25)):
            Garbage()
            try:
                seen[catalogue.get("typed").name] += 1
            except SystemError as error:
                seen[str(error)] += 1

    threads = [threading.Thread(target=read) for _ in range(4)]
    gc.set_threshold(20, 1_000, 1_000)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*before)
    assert seen == {"typed": 4 * scaled(25)}
