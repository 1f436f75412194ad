"""The commands for what operators own on the platform, and for load."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from tests.cli.test_cli import Teknav, environment, teknav

__all__ = ["environment", "teknav"]
SAMPLES = Path(str(resources.files("teknav_ops.sample_content")))


def test_a_webhook_endpoint_from_its_secret_to_its_end(teknav: Teknav) -> None:
    added = teknav("webhooks", "add", "partner", "https://partner.example/h", "--event", "article.published")
    assert added.returncode == 0 and "whsec_" in added.stdout
    assert teknav("webhooks", "add", "partner", "https://partner.example/h").returncode == 2
    assert "url: must begin with https://" in teknav("webhooks", "add", "x", "ftp://x.example").stderr
    assert teknav("webhooks", "rotate-secret", "partner", "--overlap", "1h").stdout.startswith("whsec_")
    assert teknav("webhooks", "disable", "partner", "--reason", "moved").returncode == 0
    (listed,) = json.loads(teknav("webhooks", "list", "--json").stdout)
    assert (listed["status"], listed["disabled_reason"]) == ("disabled", "moved") and "secret" not in str(listed)
    assert teknav("webhooks", "enable", "partner").returncode == 0
    assert "enabled" in teknav("webhooks", "list").stdout
    assert "Nothing was delivered" in teknav("webhooks", "deliveries", "partner").stdout
    published = json.loads(teknav("webhooks", "publish", "article.published", "--data", '{"a": 1}', "--json").stdout)
    assert published["deliveries"]["partner"]["is_new"]
    assert "No enabled endpoint takes article.edited" in teknav("webhooks", "publish", "article.edited").stdout
    assert "event_type" in teknav("webhooks", "publish", "Not A Type").stderr
    assert teknav("webhooks", "enable", "nobody").returncode == 2


def test_a_plugin_is_installed_listed_and_switched(teknav: Teknav) -> None:
    folder = SAMPLES / "plugins" / "reading-time"
    wrong = teknav("plugins", "install", str(folder / "plugin.wat"), "--manifest", '{"slug": "X Y"}')
    assert wrong.returncode == 2 and "manifest: slug" in wrong.stderr
    installed = teknav("plugins", "install", str(folder / "plugin.wat"), "--manifest", f"@{folder / 'manifest.json'}")
    assert "installed, sha256" in installed.stdout, installed.stderr
    assert "reading-time" in teknav("plugins", "list").stdout
    assert teknav("plugins", "disable", "reading-time").returncode == 0
    (listed,) = json.loads(teknav("plugins", "list", "--json").stdout)
    assert listed["status"] == "disabled"
    assert teknav("plugins", "enable", "reading-time").returncode == 0
    assert "has not run yet" in teknav("plugins", "executions", "reading-time").stdout


def test_a_workflow_is_saved_and_its_faults_are_named(teknav: Teknav) -> None:
    saved = teknav("workflows", "save", f"@{SAMPLES / 'workflows' / 'publish-article.json'}")
    assert saved.stdout == "publish-article version 1\n", saved.stderr
    faulty = teknav("workflows", "save", '{"slug": "w", "title": "W", "steps": [{"id": "a", "kind": "magic"}]}')
    assert faulty.returncode == 2 and "steps[0].kind: 'magic'" in faulty.stderr
    assert "publish-article" in teknav("workflows", "list").stdout
    assert "No runs" in teknav("workflows", "runs").stdout
    for command in ("show", "cancel"):
        assert "there is no workflow run 7" in teknav("workflows", command, "7").stderr
    for command in ("approve", "reject"):
        assert teknav("workflows", command, "7", "editor").returncode == 2


def test_load_and_reindexing_enqueue_what_they_say(teknav: Teknav) -> None:
    load = teknav("demo", "--rate", "50", "--for", "1s", "--queue", "search:index")
    assert load.returncode == 0 and "search:index" in load.stdout, load.stderr
    assert "no 'x'" in teknav("demo", "--queue", "x").stderr

    def waiting() -> int:
        rows = {row["name"]: row for row in json.loads(teknav("queues", "--json").stdout)}
        return int(rows["search:index"]["waiting"])

    before = waiting()
    assert before > 10
    # The demo put the sample articles in place.
    assert teknav("reindex", "--no-wait").stdout == "10 articles enqueued on search:index\n"
    assert waiting() == before + 10
