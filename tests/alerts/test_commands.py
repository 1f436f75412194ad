"""`teknav alerts`, from outside."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.test_cli import Teknav, environment, kill_one, teknav
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.redis_server import RedisServer
from tests.support.smtp_receiver import SmtpReceiver

__all__ = ["environment", "teknav"]
RULES = json.dumps([{"kind": "dlq_inflow", "limit_count": 0, "queues": ["search:index"], "clear_seconds": 0}])


def test_checking_says_what_holds_and_exits_with_one(teknav: Teknav, redis_server: RedisServer) -> None:
    quiet = teknav("alerts", "check", TEKNAV_ALERT_RULES=RULES)
    assert quiet.returncode == 0 and "clear" in quiet.stdout, quiet.stderr

    kill_one(redis_server)
    firing = teknav("alerts", "check", "--json", TEKNAV_ALERT_RULES=RULES)

    (row,) = json.loads(firing.stdout)
    assert firing.returncode == 1
    assert (row["rule"], row["queue"], row["state"], row["value"]) == ("dlq-inflow", "search:index", "firing", 1)
    shown = teknav("alerts", "check", TEKNAV_ALERT_RULES=RULES)
    assert shown.returncode == 1 and "1 new dead letters in 10 min" in shown.stdout


def test_a_fresh_install_has_rules_and_no_alerts(teknav: Teknav) -> None:
    shown = teknav("alerts")
    assert "No alert is open." in shown.stdout and "No scheduler runs" in shown.stderr
    rules = json.loads(teknav("alerts", "rules").stdout)
    assert {"no-heartbeat", "audit-lag", "otp-waiting"} < {rule["name"] for rule in rules}
    assert teknav("alerts", "rules", TEKNAV_ALERT_RULES=json.dumps(rules)).returncode == 0
    assert set(json.loads(teknav("alerts", "--json").stdout)) == {"open", "recent", "undelivered", "silences"}


def test_a_silenced_condition_does_not_fail_a_check(teknav: Teknav, redis_server: RedisServer) -> None:
    kill_one(redis_server)

    made = teknav("alerts", "silence", "dlq-inflow", "-q", "search:index", "--for", "2h", "--reason", "we know",
                  TEKNAV_ALERT_RULES=RULES)  # fmt: skip
    assert made.stdout.startswith("dlq-inflow is silent on search:index until "), made.stderr
    checked = teknav("alerts", "check", TEKNAV_ALERT_RULES=RULES)
    assert checked.returncode == 0 and "silenced" in checked.stdout
    assert "we know" in teknav("alerts").stdout

    assert teknav("alerts", "unsilence", "dlq-inflow", "-q", "search:index").returncode == 0
    assert teknav("alerts", "check", TEKNAV_ALERT_RULES=RULES).returncode == 1
    assert "no 'x'" in teknav("alerts", "silence", "x", "--reason", "y").stderr


def test_a_test_message_goes_through_every_channel_and_says_what_became_of_it(
    teknav: Teknav, inbox: SmtpReceiver, receiver: HttpReceiver
) -> None:
    told: dict[str, Any] = {"TEKNAV_ALERT_WEBHOOK_URL": receiver.url, "TEKNAV_SMTP_URL": inbox.url,
                            "TEKNAV_ALERT_MAIL_TO": '["oncall@example.com"]'}  # fmt: skip
    sent = teknav("alerts", "test", **told)
    assert sent.stdout == "webhook: 200 ok\nmail:oncall@example.com: 250 kept\n" and sent.returncode == 0
    assert json.loads(receiver.requests[0].body)["type"] == "alert.test"
    assert inbox.mails[0]["Subject"] == "[test] alerts from TekNav arrive here"

    receiver.answers = [Answer(403)]
    refused = teknav("alerts", "test", **told)
    assert refused.returncode == 1 and "webhook: the receiver answered 403" in refused.stderr
    nobody = teknav("alerts", "test")
    assert nobody.returncode == 2 and "TEKNAV_ALERT_MAIL_TO" in nobody.stderr


def test_a_wrong_rule_is_named_at_every_start(teknav: Teknav) -> None:
    wrong = {"TEKNAV_ALERT_RULES": '[{"kind": "burn_rate", "name": "slo", "objective": 99}]'}

    for command in (("up",), ("alerts", "check"), ("alerts", "rules")):
        refused = teknav(*command, **wrong)
        assert refused.returncode == 2 and "alert_rules[0] (slo): objective: " in refused.stderr
    doctor = json.loads(teknav("doctor", "--json", **wrong).stdout)
    (finding,) = (found for found in doctor if found["check"] == "alerts")
    assert not finding["is_well"] and "(slo): objective" in finding["seen"]
