"""`teknav audit` against a real Redis and database."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import insert, update

from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import AUDIT_ANCHOR
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from teknav_ops.topology import TOPOLOGY
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.operators import at_command_line
from tests.support.redis_server import RedisServer
from tests.support.tampering import without_guard
from tests.support.waiting import ANSWER_SECONDS

Teknav = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()"]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'teknav.sqlite3'}"
    migrate(url)
    opened = Database.open(url)
    yield opened
    opened.dispose()


@pytest.fixture
def environment(redis_server: RedisServer, records: Database, tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")},
        "TEKNAV_REDIS_URL": redis_server.url,
        "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
        "TEKNAV_OPERATOR": "sara",
        "COLUMNS": "200",
    }


@pytest.fixture
def teknav(environment: dict[str, str]) -> Teknav:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return warm_python.run(
            [*PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )

    return run


def put(records: Database, count: int = 1, **facts: object) -> None:
    row = {"at": datetime.now(UTC), "action": "job.completed", "queue": "search:index", "actor": "w:1", **facts}
    with records.session() as session:
        session.execute(insert(AuditLog), [row] * count)


def test_what_an_operator_did_is_found_by_name_action_and_queue(teknav: Teknav, records: Database) -> None:
    put(records, 3)
    assert teknav("queues", "pause", "search:index").returncode == 0

    page = json.loads(
        teknav("audit", "query", "--actor", at_command_line("sara"), "--action", "queue.", "--json").stdout
    )
    assert [(entry["action"], entry["outcome"], entry["queue"]) for entry in page["items"]] == [
        ("queue.paused", "done", "search:index")
    ]
    table = teknav("audit", "query", "--limit", "2")
    assert "queue.paused" in table.stdout and "go on with --cursor" in table.stdout
    cursor = json.loads(teknav("audit", "query", "--limit", "2", "--json").stdout)["next_cursor"]
    rest = json.loads(teknav("audit", "query", "--limit", "2", "--json", "--cursor", cursor).stdout)
    assert [entry["action"] for entry in rest["items"]] == ["job.completed", "job.completed"]
    assert "No entries match" in teknav("audit", "query", "--queue", "email:send").stdout


def test_an_export_as_csv_is_complete_and_runs_no_formula(teknav: Teknav, records: Database) -> None:
    put(records, 1_200)
    put(records, error_type="=cmd|' /C calc'!A0", detail={"text": 'خطا, "quoted"\nnext line'})

    answer = teknav("audit", "query", "--csv", "--limit", "5000")

    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert len(rows) == 1_201
    assert rows[0]["error_type"] == "'=cmd|' /C calc'!A0"
    assert json.loads(rows[0]["detail"])["text"] == 'خطا, "quoted"\nnext line'
    assert len(list(csv.reader(io.StringIO(teknav("audit", "query", "--csv", "--limit", "7").stdout)))) == 8


def test_a_reader_who_has_seen_enough_of_an_export_is_no_error(environment: dict[str, str], records: Database) -> None:
    put(records, 20_000, detail={"text": "x" * 200})
    command = [*PROGRAM, "audit", "query", "--csv", "--limit", "20000"]
    with warm_python.Process(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None and exporting.stderr is not None
        assert exporting.stdout.readline().startswith(b"id,at,action")
        exporting.stdout.close()
        assert exporting.stderr.read() == b""
        assert exporting.wait(30) == 0


def test_a_jobs_story_is_told_before_and_after_it_is_in_auditlog(
    teknav: Teknav, records: Database, redis_server: RedisServer
) -> None:
    accepted = json.loads(
        teknav("enqueue", "search:index", "index-article", "--data", '{"article_id": 7}', "--json").stdout
    )
    assert "job.enqueued" in teknav("audit", "story", accepted["job_id"]).stdout

    AuditWriter(connect(redis_server.url), records, TOPOLOGY).drain()

    told = json.loads(teknav("audit", "story", accepted["job_id"], "--json").stdout)
    assert [(entry["action"], entry["actor"]) for entry in told["entries"]] == [
        ("job.enqueued", at_command_line("sara"))
    ]
    assert told["entries"][0]["id"] is not None and told["is_complete"]
    assert "Nothing is on record" in teknav("audit", "story", "ghost").stdout


def test_the_tail_shows_the_newest_last_and_follows(
    environment: dict[str, str], teknav: Teknav, records: Database
) -> None:
    put(records, job_id="first")
    put(records, job_id="second", action="dlq.added", error_type="ValueError", detail={"text": "[bold]no[/bold]"})
    shown = teknav("audit", "tail").stdout.splitlines()
    assert ["first" in shown[0], "second" in shown[1]] == [True, True]
    assert "ValueError: [bold]no[/bold]" in shown[1]

    command = [*PROGRAM, "audit", "tail", "--follow", "--json", "--action", "dlq."]
    with warm_python.Process(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["job_id"] == "second"
            put(records, job_id="third")
            put(records, job_id="fourth", action="dlq.deleted")
            assert json.loads(following.stdout.readline())["job_id"] == "fourth"
        finally:
            following.terminate()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("query", "--queue", "no:such"), "queue: no 'no:such'"),
        (("query", "--limit", "0"), "limit: "),
        (("query", "--csv", "--limit", "0"), "limit: "),
        (("query", "--csv", "--json"), "--csv: "),
        (("query", "--cursor", "x"), "cursor: 'x'"),
        (("query", "--since", "yesterday"), "--since"),
        (("tail", "--queue", "no:such"), "queue: no 'no:such'"),
    ],
)
def test_a_wrong_question_is_refused_with_the_field_and_the_fix(
    teknav: Teknav, arguments: tuple[str, ...], words: str
) -> None:
    answer = teknav("audit", *arguments)

    assert (answer.returncode, words in answer.stderr) == (2, True), answer.stderr


def test_following_waits_while_the_database_is_away(environment: dict[str, str], records: Database) -> None:
    put(records, job_id="first")
    command = [*PROGRAM, "audit", "tail", "--follow", "--json"]
    with warm_python.Process(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None and following.stderr is not None
        try:
            assert json.loads(following.stdout.readline())["job_id"] == "first"
            with records.engine.connect() as connection:
                connection.exec_driver_sql("alter table audit_log rename to away")
                connection.commit()
            assert "waiting: " in following.stderr.readline()
            with records.engine.connect() as connection:
                connection.exec_driver_sql("alter table away rename to audit_log")
                connection.commit()
            put(records, job_id="second")
            assert json.loads(following.stdout.readline())["job_id"] == "second"
        finally:
            following.terminate()


def test_a_changed_row_is_named_and_ends_the_verification_with_one(
    teknav: Teknav, records: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    put(records, 5)
    keys = LinkKeys.from_settings(Settings(secret_key=SecretStr(environment["TEKNAV_SECRET_KEY"])))
    AuditSealer(records, keys, every_seconds=0).step()
    told = json.loads(teknav("audit", "verify", "--json").stdout)
    assert (told["is_intact"], told["row_count"], told["findings"]) == (True, 5, [])
    export = str(tmp_path / "trail.gz")
    assert teknav("audit", "export", export).returncode == 0

    with without_guard(records), records.session() as session:
        session.execute(update(AuditLog).where(AuditLog.id == 3).values(actor="mina"))
    changed = teknav("audit", "verify", "--expect", told["newest"])

    assert changed.returncode == 1
    assert "row 3 was changed after it was sealed" in changed.stderr
    assert "NOT as it was written" in changed.stdout
    assert teknav("audit", "verify", "--from", export).returncode == 0
    assert teknav("audit", "verify", "--expect", "soon").returncode == 2


def test_a_chain_that_ends_before_its_anchor_is_told_of_until_an_owner_accepts_it(
    teknav: Teknav, records: Database, client: redis.Redis
) -> None:
    put(records, 5)
    client.set(AUDIT_ANCHOR, json.dumps({"number": 9, "hash": "a" * 64, "since": "2026-01-01T00:00:00+00:00"}))

    cut = teknav("audit", "verify")
    assert cut.returncode == 1
    assert "the chain ends at link 0, but link 9 was there before" in cut.stderr
    (told,) = (item for item in json.loads(teknav("doctor", "--json").stdout) if item["check"] == "audit")
    assert not told["is_well"] and "link 9 was there before" in told["seen"]

    assert teknav("audit", "accept", "--reason", "restored").returncode == 0
    assert teknav("audit", "verify").returncode == 0
