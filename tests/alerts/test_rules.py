"""Rules from settings: defaults, and faults that name the rule and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from teknav_ops.alerts.notices import runbook_page
from teknav_ops.alerts.rules import DEFAULT_RULES, Rule, dump_rules, parse_rules, rules_of
from teknav_ops.errors import InvalidRequest
from teknav_ops.settings import Settings
from tests.support.topology import TOPOLOGY

ROOT = Path(__file__).parents[2]
KINDS = {get_args(rule.model_fields["kind"].annotation)[0]: rule for rule in get_args(Rule)}


def test_a_fresh_install_watches_with_every_kind_of_rule() -> None:
    assert {rule.kind for rule in DEFAULT_RULES} == set(KINDS)
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)
    assert rules_of(Settings()) == DEFAULT_RULES
    assert {rule.severity for rule in DEFAULT_RULES} == {"page", "ticket"}


def test_a_team_with_other_queues_keeps_the_defaults_that_fit_them() -> None:
    kept = {rule.name for rule in rules_of(Settings(), TOPOLOGY)}

    assert kept == {rule.name for rule in DEFAULT_RULES} - {"otp-waiting"}


def test_what_is_printed_can_be_set() -> None:
    printed = json.dumps(dump_rules(DEFAULT_RULES))

    assert rules_of(Settings(alert_rules=printed)) == DEFAULT_RULES


def test_a_rule_has_the_name_of_its_kind_unless_given_one() -> None:
    first, second = parse_rules('[{"kind": "no_heartbeat"}, {"kind": "no_heartbeat", "name": "other"}]', TOPOLOGY)

    assert (first.name, second.name) == ("no-heartbeat", "other")
    assert first.watches("test:work")


def test_queues_are_named_or_left_out() -> None:
    text = '[{"kind": "no_heartbeat", "queues": ["test:work"]}, {"kind": "audit_lag", "except_queues": ["test:work"]}]'
    only, all_but = parse_rules(text, TOPOLOGY)

    assert [queue for queue in TOPOLOGY if only.watches(queue)] == ["test:work"]
    assert [queue for queue in TOPOLOGY if all_but.watches(queue)] == ["test:other"]


def test_rules_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('[{"kind": "audit_lag"}]')

    (rule,) = parse_rules(f"@{path}", TOPOLOGY)

    assert rule.kind == "audit_lag"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "alert_rules: not JSON"),
        ("{}", "alert_rules: must be a JSON list"),
        ("@nowhere.json", "alert_rules: nowhere.json: No such file"),
        ('["x"]', r"alert_rules\[0\] \(unnamed\): kind: "),
        ('[{"kind": "magic"}]', r"alert_rules\[0\] \(magic\): kind: .*'magic'.*'dlq_inflow'"),
        ('[{"kind": "audit_lag", "limit_seconds": -1}]', r"alert_rules\[0\] \(audit_lag\): limit_seconds: "),
        ('[{"kind": "audit_lag", "limit": 1}]', r"\(audit_lag\): limit: Extra inputs"),
        ('[{"kind": "burn_rate", "name": "slo", "objective": 99}]', r"\(slo\): objective: .*less than 1"),
        ('[{"kind": "burn_rate", "severity": "loud"}]', r"\(burn_rate\): severity: "),
        ('[{"kind": "audit_lag", "name": "A|B"}]', r"\(A\|B\): name: "),
        ('[{"kind": "audit_lag", "queues": ["x:y"]}]', r"\(audit-lag\): queues: no 'x:y'; there are test:work"),
        ('[{"kind": "audit_lag"}, {"kind": "audit_lag"}]', r"alert_rules\[1\] \(audit-lag\): name: another rule"),
    ],
)
def test_a_fault_names_the_rule_and_the_field(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parse_rules(text, TOPOLOGY)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_in_the_runbook_and_in_the_docs(kind: str) -> None:
    page = (ROOT / runbook_page(kind)).read_text()

    for part in ("**Means.**", "**First look.**", "**Safe to do.**"):
        assert part in page
    listed = (ROOT / "docs/alerts.md").read_text()
    assert f"| [`{kind}`](" in listed
    own = set(KINDS[kind].model_fields) - {
        "name",
        "queues",
        "except_queues",
        "severity",
        "for_seconds",
        "clear_seconds",
        "kind",
    }
    assert all(f"`{field}`" in listed for field in own)


def test_every_default_rule_is_in_the_docs() -> None:
    listed = (ROOT / "docs/alerts.md").read_text()

    assert all(f"| `{rule.name}` | {rule.severity} |" in listed for rule in DEFAULT_RULES)
