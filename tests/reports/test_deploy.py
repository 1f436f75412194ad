"""The examples for cron, systemd and Kubernetes call a command that exists, for reports that exist."""

from __future__ import annotations

import configparser
import itertools
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from teknav_ops.cli.app import app
from teknav_ops.reports.catalogue import Catalogue
from teknav_ops.reports.cron import Cron
from teknav_ops.reports.parameters import check_parameters, parse_pairs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def commands() -> list[list[str]]:
    cron = (DEPLOY / "cron" / "teknav-reports").read_text()
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read(DEPLOY / "systemd" / "teknav-report@.service")
    job = yaml.safe_load((DEPLOY / "kubernetes" / "report-cronjob.yaml").read_text())
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    return [
        *(match.split() for match in re.findall(r"/teknav (report run .+)$", cron, re.M)),
        service["Service"]["ExecStart"].replace("%i", "queue_health").split("/teknav ")[1].split(),
        container["args"][1:],
    ]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_an_example_runs_what_there_is(command: list[str]) -> None:
    catalogue = Catalogue(ROOT / "ops_notebooks")
    assert command[:2] == ["report", "run"]
    if "--as-scheduled" in command:
        options = set(CliRunner().invoke(app, ["report", "run", "--help"]).output.split())
        assert "--as-scheduled" in options
        return
    report = catalogue.get(command[2])
    pairs = [word for before, word in itertools.pairwise(command) if before == "--param"]
    check_parameters(report.name, report.parameters, parse_pairs(pairs))


def test_schedules_in_the_examples_are_understood() -> None:
    lines = re.findall(r"^([\d*]\S* \S+ \S+ \S+ \S+) +teknav ", (DEPLOY / "cron" / "teknav-reports").read_text(), re.M)
    job = yaml.safe_load((DEPLOY / "kubernetes" / "report-cronjob.yaml").read_text())
    assert len(lines) == 2
    for expression in (*lines, job["spec"]["schedule"]):
        Cron(expression, job["spec"]["timeZone"])
