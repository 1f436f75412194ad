"""The command line against a real Redis and database: answers, JSON, errors, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from teknav_ops.cli.context import Context
from teknav_ops.cli.settings_findings import disk_finding
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import CLOCK_JUMP, QueueKeys
from teknav_ops.settings import Settings
from teknav_ops.storage.schema import head_revision
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.waiting import ANSWER_SECONDS

Teknav = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")},
        "TEKNAV_REDIS_URL": redis_server.url,
        "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
        "TEKNAV_OPERATOR": "sara",
        "COLUMNS": "160",
    }


@pytest.fixture
def teknav(environment: dict[str, str]) -> Iterator[Teknav]:
    def run(*arguments: str, typed: str | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
        return warm_python.run(
            [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", *arguments],
            env={**environment, **changes}, input=typed, capture_output=True, text=True, timeout=ANSWER_SECONDS,
            check=False,
        )  # fmt: skip

    yield run


def hand_out(state: State, keys: QueueKeys) -> scripts.Delivery:
    """A job of a real queue, handed to a worker that is not there."""
    job = scripts.NewJob(id=os.urandom(8).hex(), name="index-article", payload='{"article_id": 1}')
    state.run(scripts.enqueue(keys, idempotency_ms=1, actor="t", jobs=[job]))
    call = scripts.fetch(
        keys, count=1, lease_ms=60_000, worker="w", global_concurrency=0, rate_count=0, rate_period_ms=0
    )
    return state.run(call).deliveries[0]


def kill_one(redis_server: RedisServer, queue: str = "search:index") -> str:
    """A dead letter on a real queue, made by the scripts."""
    with redis_server.client() as client:
        state = State(client)
        keys = QueueKeys(queue)
        delivery = hand_out(state, keys)
        run = scripts.Run(delivery.id, delivery.delivery, 1, 1.0, "b1")
        attempt = {"attempt": 1, "delivery": 1, "started_at": 0, "duration_ms": 5, "worker": "w",
                   "error_type": "Broken[x]", "error": "[bold]e[/bold]", "stack": "Traceback [/x]"}  # fmt: skip
        failure = scripts.Failure("Broken", "[bold]e[/bold]", "Traceback [/x]", "f1", json.dumps(attempt))
        state.run(scripts.dead_letter(keys, worker="w", run=run, failure=failure, failed_kept=100))
    return delivery.id


@pytest.mark.parametrize("command", ["dlq show QUEUE", "dlq list QUEUE", "dlq groups QUEUE", "jobs show"])
def test_what_a_receiver_answered_does_not_command_the_terminal(
    teknav: Teknav, redis_server: RedisServer, command: str
) -> None:
    job, obeyed = kill_one(redis_server), "\x1b[2J\x9b31m\u202e"
    keys = QueueKeys("search:index")
    with redis_server.client() as client:
        attempt = json.loads(client.hget(keys.job(job), "attempt:1"))
        client.hset(keys.job(job), mapping={"error": obeyed, "attempt:1": json.dumps({**attempt, "stack": obeyed})})
        client.hset(keys.dlq_record(job), mapping={"error": obeyed, "stack": obeyed})

    name, what, *queue = command.split()
    told = teknav(name, what, *(["search:index"] if queue else []), *([job] if what == "show" else []))

    assert told.returncode == 0, told.stderr
    assert not set(obeyed) & set(told.stdout) - set("[2J31m") and r"\u001b[2J\u009b31m\u202e" in told.stdout


def test_a_job_from_enqueue_to_cancel(teknav: Teknav) -> None:
    answer = teknav(
        "enqueue",
        "search:index",
        "index-article",
        "--data",
        '{"article_id": 7}',
        "--key",
        "k",
        "--delay",
        "2h",
        "--json",
    )
    assert answer.returncode == 0, answer.stderr
    accepted = json.loads(answer.stdout)
    again = teknav("enqueue", "search:index", "index-article", "--data", '{"article_id": 7}', "--key", "k", "--json")
    assert json.loads(again.stdout) == {"job_id": accepted["job_id"], "is_new": False}
    other = teknav("enqueue", "search:index", "index-article", "--data", '{"article_id": 8}', "--key", "k")
    assert other.returncode == 2 and "payload.article_id differs" in other.stderr and "Traceback" not in other.stderr

    listed = json.loads(teknav("jobs", "list", "search:index", "--state", "delayed", "--json").stdout)
    assert [job["id"] for job in listed["items"]] == [accepted["job_id"]]
    assert teknav("jobs", "promote", "search:index", accepted["job_id"]).returncode == 0
    assert teknav("jobs", "cancel", "search:index", accepted["job_id"]).returncode == 0
    shown = teknav("jobs", "show", accepted["job_id"])
    assert "cancelled" in shown.stdout and "article_id" in shown.stdout

    again = json.loads(teknav("jobs", "run-again", "search:index", accepted["job_id"], "--json").stdout)
    record = json.loads(teknav("jobs", "show", again["job_id"], "--json").stdout)
    assert (record["state"], record["run_again_of"]) == ("waiting", accepted["job_id"])
    assert "no other job was made" in teknav("jobs", "run-again", "search:index", accepted["job_id"]).stdout
    refused = teknav("jobs", "run-again", "search:index", again["job_id"])
    assert refused.returncode == 2 and "only completed or cancelled jobs" in refused.stderr


def test_queues_are_listed_paused_and_resumed(teknav: Teknav) -> None:
    assert teknav("queues", "pause", "email:send").stdout == "email:send is paused\n"
    assert teknav("queues", "pause", "email:send").stdout == "email:send was paused already\n"
    rows = {row["name"]: row for row in json.loads(teknav("queues", "--json").stdout)}
    assert (rows["email:send"]["state"], rows["media:optimize"]["state"]) == ("paused", "running")
    assert "email:send" in teknav("queues").stdout
    assert teknav("queues", "resume", "email:send").stdout == "email:send is running\n"
    assert teknav("queues", "configure", "email:send", "--concurrency", "3").returncode == 0
    rows = {row["name"]: row for row in json.loads(teknav("queues", "--json").stdout)}
    assert rows["email:send"]["concurrency"] == {"configured": 8, "override": 3}


def test_dead_letters_are_grouped_shown_replayed_deleted_and_purged(teknav: Teknav, redis_server: RedisServer) -> None:
    first, second, third = (kill_one(redis_server) for _ in range(3))

    (group,) = json.loads(teknav("dlq", "groups", "search:index", "--json").stdout)["items"]
    assert (group["error_type"], group["count"]) == ("Broken", 3)
    assert "[bold]e[/bold]" in teknav("dlq", "list", "search:index").stdout
    assert "Traceback [/x]" in teknav("dlq", "show", "search:index", first).stdout
    assert "Traceback [/x]" in teknav("jobs", "show", first).stdout
    letter = json.loads(teknav("dlq", "show", "search:index", first, "--json").stdout)
    assert (letter["originalJobId"], letter["attemptsMade"]) == (first, 1)
    assert teknav("dlq", "replay", "search:index", first).returncode == 0
    assert teknav("dlq", "delete", "search:index", second).returncode == 0
    refused = teknav("dlq", "purge", "search:index", typed="yes\n")
    assert refused.returncode == 2 and "type search:index" in refused.stderr
    assert teknav("dlq", "purge", "search:index", typed="search:index\n").returncode == 0
    assert "nothing to decide" in teknav("dlq", "groups", "search:index").stdout
    assert json.loads(teknav("jobs", "show", third, "--json").stdout)["state"] == "failed"


def test_a_batch_is_previewed_and_replayed_after_a_yes(teknav: Teknav, redis_server: RedisServer) -> None:
    for _ in range(3):
        kill_one(redis_server)

    asked = teknav("dlq", "replay-batch", "search:index", "--limit", "2", typed="n\n")
    assert "Replay 2 of 3 jobs that match?" in asked.stdout and "Broken" in asked.stdout
    assert "Replay 3 jobs?" in teknav("dlq", "replay-batch", "search:index", typed="n\n").stdout
    done = json.loads(teknav("dlq", "replay-batch", "search:index", "--limit", "2", "--json").stdout)
    assert (done["state"], done["replayed_count"], done["matching_count"]) == ("finished", 2, 3)
    assert done["outcome"] == "0 completed, 0 failed again, 2 still waiting or running"
    newest, *before = json.loads(teknav("dlq", "replays", "search:index", "--json").stdout)["items"]
    assert (newest["id"], newest["unsettled_count"]) == (done["id"], 2) and len(before) == 2
    stopped = teknav("dlq", "stop-replay", "search:index", before[0]["id"])
    assert stopped.stdout == "stopped after 0 of 3: 0 completed, 0 failed again\n"
    whole = teknav("dlq", "replay-batch", "search:index", "--resume", before[1]["id"], "--limit", "1")
    assert whole.returncode == 2 and "--resume: its list is frozen" in whole.stderr
    rest = teknav("dlq", "replay-batch", "search:index", "--resume", before[1]["id"])
    assert "finished: 0 of 2 replayed; 0 completed, 0 failed again; 2 skipped: 2 not failed any more" in rest.stdout
    again = teknav("dlq", "replay-batch", "search:index", "--replay", done["id"])
    assert "No dead letters match" in again.stdout
    nothing = teknav("dlq", "replay-batch", "search:index", "--error-type", "Other")
    assert "No dead letters match" in nothing.stdout and nothing.returncode == 0


def test_what_matches_is_deleted_for_a_reason_after_a_yes(teknav: Teknav, redis_server: RedisServer) -> None:
    ids = [kill_one(redis_server) for _ in range(4)]

    asked = teknav("dlq", "delete", "search:index", "--error-type", "Broken", "-n", "3", typed="n\n")
    assert "Delete 3 of 4 dead letters that match for good?" in asked.stdout and "Broken" in asked.stdout
    unsaid = teknav("dlq", "delete", "search:index", "--yes")
    assert unsaid.returncode == 2 and "reason: " in unsaid.stderr
    both = teknav("dlq", "delete", "search:index", ids[0], "--error-type", "Broken")
    assert both.returncode == 2 and "not both" in both.stderr
    two = json.loads(teknav("dlq", "delete", "search:index", *ids[:2], "--reason", "spam", "--json").stdout)
    assert (two["deleted_count"], two["reason"]) == (2, "spam")
    rest = teknav("dlq", "delete", "search:index", "--text", "[bold]e", typed="y\nthe files are gone\n")
    assert rest.stdout.endswith("2 of 2 dead letters deleted\n"), rest
    assert "No dead letters match" in teknav("dlq", "delete", "search:index", typed="").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("queues", "pause", "no:such"), 2, "queue: no 'no:such'"),
        (("enqueue", "search:index", "index-article", "--data", "{"), 2, "--data: not JSON"),
        (("enqueue", "search:index", "index-article", "--data", "@/no/file"), 2, "--data: /no/file"),
        (("enqueue", "search:index", "index-article", "--data", '{"article_id": 0}'), 2, "article_id: "),
        (("enqueue", "search:index", "index-article", "--data", '{"article_id": 1}', "--delay", "soon"), 2, "--delay"),
        (("jobs", "show", "ghost"), 2, "no queue keeps a record"),
        (("jobs", "list", "search:index", "--since", "yesterday"), 2, "--since"),
        (("jobs", "list", "search:index", "--limit", "100000"), 2, "limit: "),
        (("jobs", "list", "search:index", "--state", "lost"), 2, "lost"),
        (("dlq", "replay", "search:index", "ghost"), 2, "no record of"),
        (("dlq", "replay-batch", "search:index", "--rate", "-1", "--yes", "--resume", "x"), 2, "rate: "),
        (("dlq", "delete", "search:index", "--yes", "--reason", "spam"), 2, "teknav dlq purge search:index"),
        (("jobs", "promote", "search:index", "x" * 65), 2, "no job has the id 'xxx"),
        (("workflows", "show", "9" * 20), 2, "'run'"),
        (("alerts", "--limit", "-1"), 2, "--limit"),
        (("webhooks", "publish", "a.b", "--data", "null"), 2, "data: must be a mapping"),
        (("users", "password", "a\udcff", "--stdin"), 2, "not UTF-8"),
        (("dance",), 2, "dance"),
    ],
)  # fmt: skip
def test_errors_name_the_field_and_exit_with_their_code(
    teknav: Teknav, arguments: tuple[str, ...], code: int, words: str
) -> None:
    answer = teknav(*arguments)

    assert answer.returncode == code, answer.stdout + answer.stderr
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unreachable_redis_is_exit_code_3(teknav: Teknav) -> None:
    answer = teknav("queues", TEKNAV_REDIS_URL=f"redis://127.0.0.1:{free_port()}")

    assert answer.returncode == 3
    assert "teknav doctor" in answer.stderr and "Traceback" not in answer.stderr


def test_the_doctor_looks_at_the_audit_trail_without_redis_too(teknav: Teknav) -> None:
    answer = teknav("doctor", "--json", TEKNAV_REDIS_URL=f"redis://127.0.0.1:{free_port()}")

    found = {item["check"]: item for item in json.loads(answer.stdout)}
    assert found["audit"]["is_well"] and "is not known without Redis" in found["audit"]["seen"]


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(teknav: Teknav) -> None:
    found = {item["check"]: item for item in json.loads(teknav("doctor", "--json").stdout)}
    assert found["database"]["is_well"] and found["settings"]["is_well"] and found["versions"]["is_well"]
    assert not found["redis"]["is_well"] and "appendonly" in found["redis"]["remedy"]
    assert found["clock"]["is_well"] and "from this machine's" in found["clock"]["seen"]
    assert not found["workers"]["is_well"] and "dramatiq workers" in found["workers"]["remedy"]
    sick = teknav("doctor", TEKNAV_REDIS_URL=f"redis://127.0.0.1:{free_port()}", TEKNAV_SECRET_KEY="short")
    assert sick.returncode == 1
    assert "TEKNAV_SECRET_KEY" in sick.stdout and "teknav up" in sick.stdout


def test_the_doctor_sees_whether_model_mail_server_and_gateway_answer(teknav: Teknav) -> None:
    with HttpReceiver() as receiver:
        receiver.answers = [Answer(status=401)]
        named = {"TEKNAV_AI_BASE_URL": receiver.url, "TEKNAV_AI_MODEL": "m", "TEKNAV_AI_INPUT_USD_PER_MILLION": "0"}
        named |= {"TEKNAV_AI_OUTPUT_USD_PER_MILLION": "0", "TEKNAV_SMS_URL": receiver.url, "TEKNAV_SMS_TOKEN": "old"}
        named |= {"TEKNAV_SMTP_URL": f"smtp+plain://127.0.0.1:{free_port()}"}
        found = {item["check"]: item for item in json.loads(teknav("doctor", "--json", **named).stdout)}
        for check, words in (("ai", "answers 401"), ("sms", "answers 401"), ("mail", "Connection refused")):
            assert not found[check]["is_well"] and words in found[check]["seen"] and found[check]["remedy"], found[
                check
            ]
        asked = [(request.method, request.headers["authorization"]) for request in receiver.requests]
    assert asked == [("GET", "Bearer none"), ("HEAD", "Bearer old")]
    silent = json.loads(teknav("doctor", "--json", TEKNAV_SMS_URL=receiver.url).stdout)
    (sms,) = (item for item in silent if item["check"] == "sms")
    assert not sms["is_well"] and "TEKNAV_SMS_URL" in sms["remedy"]


def test_a_data_folder_that_cannot_be_used_is_named(teknav: Teknav, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (("keys", "status"), ("lab", "--no-browser"), ("up",)):
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            told = teknav(*command, TEKNAV_DATA_DIR=str(place), TEKNAV_SECRET_KEY="")
            assert (told.returncode, told.stdout) == (2, "")
            assert told.stderr.startswith("error: ") and str(tmp_path / "file") in told.stderr
            assert "Traceback" not in told.stderr


def test_a_wrong_setting_is_named_by_its_variable_by_the_doctor_too(teknav: Teknav) -> None:
    wrong = {"TEKNAV_SMTP_URL": "foo", "TEKNAV_SESSION_HOURS": "many"}
    versions, settings = json.loads(teknav("doctor", "--json", **wrong).stdout)
    assert versions["is_well"] and not settings["is_well"]
    for answer in (settings["seen"], teknav("queues", **wrong).stderr):
        assert "TEKNAV_SMTP_URL: scheme must be one of smtp" in answer and "TEKNAV_SESSION_HOURS: " in answer
        assert "pydantic" not in answer


def test_a_stuck_job_is_marked_and_the_doctor_names_it(teknav: Teknav, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        keys, state = QueueKeys("search:index"), State(client)
        held = hand_out(state, keys)
        attempt = {"attempt": 1, "delivery": 1, "started_at": 0, "duration_ms": 5, "worker": "w",
                   "error_type": "JobStuck", "error": "still runs", "stack": "File a.py, in wait"}  # fmt: skip
        call = scripts.note_stuck(
            keys, worker="w", job_id=held.id, delivery=held.delivery, detail="", attempt=json.dumps(attempt)
        )
        state.run(call)

    found = {item["check"]: item for item in json.loads(teknav("doctor", "--json").stdout)}
    assert not found["jobs"]["is_well"] and f"index-article {held.id} on w" in found["jobs"]["seen"]
    assert "stuck" in teknav("jobs", "list", "search:index", "--state", "active").stdout
    shown = teknav("jobs", "show", held.id).stdout
    assert "stuck_at" in shown and "File a.py, in wait" in shown


def test_the_doctor_tells_of_a_clock_that_was_set(teknav: Teknav, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set(CLOCK_JUMP, json.dumps({"jump_ms": -3_600_000, "at_ms": 1}))

    found = {item["check"]: item for item in json.loads(teknav("doctor", "--json").stdout)}
    assert not found["clock"]["is_well"] and "was set by -3,600 s within the last day" in found["clock"]["seen"]
    assert "NTP" in found["clock"]["remedy"]


def test_the_doctor_sees_a_data_folder_that_others_can_look_into(teknav: Teknav, tmp_path: Path) -> None:
    def files_found() -> dict[str, Any]:
        return next(item for item in json.loads(teknav("doctor", "--json").stdout) if item["check"] == "files")

    assert files_found()["is_well"]
    tmp_path.chmod(0o750)
    found = files_found()
    tmp_path.chmod(0o700)
    assert not found["is_well"] and "(0750)" in found["seen"] and found["remedy"] == f"Run `chmod 700 {tmp_path}`."


def test_the_doctor_sees_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path: 100 * 2**20, tmp_path / "small": 5 * 2**20}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[place]))
    (tmp_path / "small").mkdir()
    settings = Settings(data_dir=tmp_path)

    found = disk_finding(Context(settings))
    assert found.is_well and found.seen == f"100 MiB are free for {tmp_path}"
    found = disk_finding(Context(settings.model_copy(update={"report_dir": tmp_path / "small" / "reports"})))
    assert not found.is_well and found.seen == f"5 MiB are free for {tmp_path / 'small' / 'reports'}"


def test_the_doctor_sees_a_redis_that_is_full_or_may_drop_jobs(teknav: Teknav, redis_server: RedisServer) -> None:
    def redis_found() -> dict[str, Any]:
        return next(item for item in json.loads(teknav("doctor", "--json").stdout) if item["check"] == "redis")

    with redis_server.client() as client:
        used = client.info("memory")["used_memory"]
        try:
            client.config_set("maxmemory", used)
            found = redis_found()
            assert not found["is_well"] and "nearly full" in found["seen"] and "maxmemory" in found["remedy"]
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert "may drop jobs" in redis_found()["seen"]
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")


def test_production_refuses_to_make_its_own_key(teknav: Teknav) -> None:
    answer = teknav("enqueue", "search:index", "index-article", "--data", '{"article_id": 1}',
                    TEKNAV_ENVIRONMENT="production", TEKNAV_SECRET_KEY="")  # fmt: skip
    assert answer.returncode == 2
    assert "TEKNAV_SECRET_KEY" in answer.stderr


def test_the_schema_is_upgraded(teknav: Teknav, tmp_path: Path) -> None:
    answer = teknav("db", "upgrade", TEKNAV_DATABASE_URL=f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert answer.stdout == f"schema empty -> {head_revision()}\n"
