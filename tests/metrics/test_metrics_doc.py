"""docs/metrics.md names every exported metric as the catalogue does; dashboard and rules ask for no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from teknav_ops.metrics.catalogue import BOUNDS_SECONDS, FAMILIES, UP
from teknav_ops.metrics.live import QueueStats

ROOT = Path(__file__).parents[2]
ALL = (UP, *FAMILIES)
DASHBOARD = ROOT / "deploy/grafana/teknav-ops.json"
RULES = ROOT / "deploy/prometheus/alerts.yml"


def rows() -> list[list[str]]:
    section = (ROOT / "docs/metrics.md").read_text().partition("## Prometheus")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.+) \|$", section, re.M)
    return [[cell.strip() for cell in re.split(r"\s*\|\s*", line)] for line in lines]


def test_every_metric_is_documented_as_it_is_and_no_other_is() -> None:
    documented = [
        (name, kind, tuple(re.findall(r"\w+", labels)), meaning) for name, kind, labels, _, _, meaning in rows()
    ]

    assert documented == [(f"`{f.exported_name}`", f.kind, f.labels, f.help) for f in ALL]


def test_the_fields_of_the_live_stats_beside_them_exist() -> None:
    named = {field for row in rows() for field in re.findall(r"\w+", row[4])}
    known = {field.alias for field in QueueStats.model_fields.values()}

    assert named <= known
    # What has no metric of its own: names of the queue and the publisher.
    assert known - named == {"queue", "publisher", "ageMs"}


def exported() -> set[str]:
    names = set()
    for family in ALL:
        names.add(family.exported_name)
        if family.kind in ("histogram", "summary"):
            names |= {f"{family.name}_count", f"{family.name}_sum"}
        if family.kind == "histogram":
            names.add(f"{family.name}_bucket")
    return names


def expressions_of_dashboard() -> list[str]:
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(
                text for name, text in value.items() if name == "expr" or (name == "query" and "(" in str(text))
            )
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(json.loads(DASHBOARD.read_text()))
    return [str(text) for text in found]


def expressions_of_rules() -> list[str]:
    return [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("source", [expressions_of_dashboard, expressions_of_rules])
def test_what_is_asked_for_is_exported(source: Any) -> None:
    expressions = source()
    assert all(text.count("(") == text.count(")") for text in expressions)
    asked = {name for text in expressions for name in re.findall(r"\bteknav_\w+", text)}

    assert len(expressions) >= 8
    assert asked <= exported()


@pytest.mark.parametrize("source", [expressions_of_dashboard, expressions_of_rules])
def test_schedulers_that_tell_the_same_are_not_added_up(source: Any) -> None:
    for text in source():
        sums = len(re.findall(r"\bsum\b", text))
        assert len(re.findall(r"\bsum(?: by \([\w, ]+\))?\s*\(\s*max by", text)) == sums, text


def test_labels_that_are_asked_for_exist() -> None:
    labels = {label for family in ALL for label in family.labels} | {"le", "instance"}
    for text in expressions_of_dashboard() + expressions_of_rules():
        for grouped in re.findall(r"by \(([\w, ]+)\)", text):
            assert set(re.split(r",\s*", grouped)) <= labels, text
        for selected in re.findall(r"\{(.*?)\}", text):
            assert set(re.findall(r"(\w+)\s*[=!]~?\"?", selected)) - {""} <= labels, text


def test_the_dashboard_shows_every_metric_and_fits_its_grid() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = {name for text in expressions_of_dashboard() for name in re.findall(r"\bteknav_\w+", text)}

    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == {f.exported_name for f in ALL}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "queue", "outcome"}


def test_each_rule_says_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
            assert (ROOT / rule["annotations"]["runbook"]).exists()


def test_bounds_ascend() -> None:
    assert list(BOUNDS_SECONDS) == sorted(set(BOUNDS_SECONDS))
