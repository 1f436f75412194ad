"""`teknav users`, `teknav tokens` and `teknav serve`."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from teknav_ops.access import totp
from teknav_ops.access.entrance import Entrance, SignInRefused
from teknav_ops.cli.app import run
from teknav_ops.cli.context import Context
from teknav_ops.settings import get_settings
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.operators import at_command_line
from tests.support.ports import free_port, listen, port_of
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

PASSWORD = "correct horse battery"
Answer = tuple[int, str, str]
Teknav = Callable[..., Answer]


@pytest.fixture
def teknav(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Teknav]:
    """Runs a command in this process; answers code, output and errors."""
    for name in [name for name in os.environ if name.startswith("TEKNAV_")]:
        monkeypatch.delenv(name)
    told = {"REDIS_URL": redis_server.url, "DATA_DIR": str(tmp_path), "SECRET_KEY": SECRET_KEY, "OPERATOR": "root"}
    for name, value in told.items():
        monkeypatch.setenv(f"TEKNAV_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")
    get_settings.cache_clear()
    migrate(get_settings().sql_url)

    def call(*arguments: str, typed: str = "") -> Answer:
        monkeypatch.setattr(sys, "argv", ["teknav", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        code = run()
        told = capsys.readouterr()
        return code, told.out, told.err

    yield call
    get_settings.cache_clear()


def entrance() -> Entrance:
    return Context().entrance


def test_a_users_life(teknav: Teknav) -> None:
    assert "No users" in teknav("users", "list")[1]
    assert teknav("users", "add", "علی", "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")[0] == 0
    added = teknav("users", "add", "Sara", "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")
    assert added[:2] == (0, "Sara is added as OWNER\n")
    code, listed, _ = teknav("users", "list", "--json")
    users = json.loads(listed)["items"]
    assert code == 0 and [(u["name"], u["role"]) for u in users] == [("Sara", "OWNER"), ("علی", "OWNER")]
    assert "password_hash" not in listed

    entrance().sign_in("sara", PASSWORD, address="10.0.0.1")
    code, told, _ = teknav("users", "password", "sara", "--stdin", typed="another long password\n")
    assert (code, told) == (0, "The password is changed; 1 session ended\n")
    entrance().sign_in("sara", "another long password", address="10.0.0.1")
    entrance().sign_in("sara", "another long password", address="10.0.0.2", agent="Firefox/140.0 Linux")
    (first, second) = json.loads(teknav("users", "sessions", "sara", "--json")[1])
    assert {first["address"], second["address"]} == {"10.0.0.1", "10.0.0.2"}
    assert "Firefox on Linux" in teknav("users", "sessions", "sara")[1]
    assert teknav("users", "sign-out", "sara", "--session", first["session"])[1] == "1 session ended\n"
    assert teknav("users", "sign-out", "sara", "--session", first["session"])[0] == 2
    assert teknav("users", "sign-out", "sara")[1] == "1 session ended\n"
    assert "signed in nowhere" in teknav("users", "sessions", "sara")[1]

    code, told, _ = teknav("users", "role", "sara", "VIEWER")
    assert (code, told) == (0, "sara is VIEWER; 0 sessions ended\n")
    factors, user = entrance().factors, entrance().users.named("sara")
    key = factors.begin(user.id, "sara").key
    factors.confirm(user.id, "sara", totp.code_of(key, int(time.time() // 30)))
    assert "without a second factor now" in teknav("users", "reset-second-factor", "sara")[1]
    assert teknav("users", "reset-second-factor", "sara")[0] == 2

    assert teknav("users", "disable", "sara")[0] == 0
    assert "disabled" in teknav("users", "list")[1]
    with pytest.raises(SignInRefused):
        entrance().sign_in("sara", "another long password", address="10.0.0.1")
    assert teknav("users", "enable", "sara")[0] == 0
    assert teknav("users", "remove", "sara")[0] == 0
    assert [u["name"] for u in json.loads(teknav("users", "list", "--json")[1])["items"]] == ["علی"]


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (("users", "add", "sara", "--role", "OWNER", "--stdin"), "short\n", "password: 5 characters are too few"),
        (("users", "add", "sara", "--role", "VIEWER"), "", "password: there is no terminal"),
        (("users", "add", "a/b", "--role", "VIEWER", "--stdin"), f"{PASSWORD}\n", "name: '/'"),
        (("users", "add", "sara", "--stdin"), f"{PASSWORD}\n", "--role"),
        (("users", "list", "--limit", "0"), "", "limit: "),
        (("tokens", "list", "--cursor", "x"), "", "cursor: 'x' is not one"),
        (("users", "password", "ghost", "--stdin"), f"{PASSWORD}\n", "name: there is no user 'ghost'"),
        (("users", "disable", "root"), "", "last owner"),
        (("users", "link", "ghost"), "", "name: there is no user 'ghost'"),
        (("users", "role", "root", "KING"), "", "KING"),
        (("tokens", "create", "ci", "--scope", "everything"), "", "scope: 'everything' is not one of read, act"),
        (("tokens", "create", "ci", "--scope", "read", "--expires", "soon"), "", "--expires"),
        (("tokens", "create", "CI!", "--scope", "read"), "", "name: "),
        (("tokens", "revoke", "ghost"), "", "name: there is no live token 'ghost'"),
    ],
)
def test_errors_name_what_is_wrong(teknav: Teknav, arguments: tuple[str, ...], typed: str, words: str) -> None:
    teknav("users", "add", "root", "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")

    code, told, errors = teknav(*arguments, typed=typed)

    assert code == 2 and words in errors + told


def test_a_password_is_never_an_argument(teknav: Teknav) -> None:
    for command in ("add", "password"):
        _, told, _ = teknav("users", command, "--help")
        assert "--password" not in told and "--stdin" in told


def test_a_link_for_somebody_locked_out(teknav: Teknav) -> None:
    teknav("users", "add", "sara", "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")

    code, told, _ = teknav("users", "link", "sara")

    found = re.fullmatch(r"http://127\.0\.0\.1:8800/sign-in/link/(\S+)\n", told)
    assert code == 0 and found
    assert entrance().sign_in_by_link(found[1], address="10.0.0.1")


def test_an_operator_of_some_queues(teknav: Teknav) -> None:
    limits = ("--queue", "webhooks:*", "--queue", "otp:send")
    _, told, _ = teknav("users", "add", "omid", "--role", "OPERATOR", *limits, "--stdin", typed=f"{PASSWORD}\n")
    assert told == "omid is added as OPERATOR of otp:send, webhooks:*\n"
    assert "otp:send, webhooks:*" in teknav("users", "list")[1]

    assert teknav("users", "role", "omid", "OPERATOR")[1] == "omid is OPERATOR; 0 sessions ended\n"
    assert json.loads(teknav("users", "list", "--json")[1])["items"][0]["queues"] == ["*"]
    code, told, errors = teknav("users", "role", "omid", "OPERATOR", "--queue", "webhook:*")
    assert code == 2 and "queues: 'webhook:*' names no queue; there are " in told + errors


def test_a_viewer_is_added_with_a_word_about_the_setting(teknav: Teknav) -> None:
    _, told, _ = teknav("users", "add", "vida", "--role", "VIEWER", "--stdin", typed=f"{PASSWORD}\n")

    assert "TEKNAV_VIEWERS_ALLOWED=true" in told


def test_a_producers_token_with_limits_and_an_owner(teknav: Teknav) -> None:
    teknav("users", "add", "sara", "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")
    limits = ("--queue", "email:*", "--jobs-per-minute", "600", "--backlog", "5000", "--owner", "sara")
    assert teknav("tokens", "create", "shop", "--scope", "enqueue", *limits)[0] == 0

    (row,) = json.loads(teknav("tokens", "list", "--json")[1])["items"]
    wanted = {"queues": ["email:*"], "jobs_per_minute": 600, "backlog_limit": 5_000, "owner": "sara", "state": "live"}
    assert {name: row[name] for name in wanted} == wanted
    # Without the breaks of a narrow terminal.
    listed = "".join(teknav("tokens", "list")[1].split())
    assert "OWNER:enqueueonemail:*;600jobsaminute;uptoabacklogof5,000;ownersara" in listed


def test_a_tokens_life(teknav: Teknav) -> None:
    assert "No tokens" in teknav("tokens", "list")[1]
    code, told, _ = teknav("tokens", "create", "ci", "--scope", "read", "--scope", "enqueue", "--expires", "12h")
    secret = told.splitlines()[-1]
    assert code == 0 and secret.startswith("tko_") and entrance().by_token(secret) is not None

    listed = teknav("tokens", "list")[1]
    assert f"{secret[:8]}…" in listed and "enqueue, read" in listed and secret not in listed
    (row,) = json.loads(teknav("tokens", "list", "--json")[1])["items"]
    assert row["name"] == "ci" and row["created_by"] == at_command_line("root") and secret not in str(row)

    assert teknav("tokens", "revoke", "ci")[0] == 0
    assert entrance().by_token(secret) is None
    assert "never expires" in teknav("tokens", "create", "ci", "--scope", "metrics", "--expires", "never")[1]


def test_long_lists_say_how_they_go_on(teknav: Teknav) -> None:
    for name in ("b b", "a", "c"):
        teknav("users", "add", name, "--role", "OWNER", "--stdin", typed=f"{PASSWORD}\n")
        teknav("tokens", "create", name.replace(" ", "-"), "--scope", "read")

    assert "3 in all; go on with --cursor 'b b'\n" in teknav("users", "list", "-n", "2")[1]
    assert [u["name"] for u in json.loads(teknav("users", "list", "--cursor", "b b", "--json")[1])["items"]] == ["c"]
    first = json.loads(teknav("tokens", "list", "-n", "2", "--json")[1])
    rest = json.loads(teknav("tokens", "list", "--cursor", first["next_cursor"], "--json")[1])
    assert [token["name"] for token in first["items"] + rest["items"]] == ["c", "a", "b-b"]
    assert {token["role"] for token in first["items"]} == {"OPERATOR"}


# teknav serve ------------------------------------------------------------------------------------


def test_serving_needs_the_schema_and_a_free_port(teknav: Teknav, tmp_path: Path) -> None:
    with listen() as taken:
        code, _, errors = teknav("serve", "--port", str(port_of(taken)))
    assert code == 2 and "cannot listen on 127.0.0.1:" in errors and "--port" in errors

    (tmp_path / "teknav.sqlite3").unlink()
    code, _, errors = teknav("serve", "--port", "0")
    assert code == 2 and "`teknav db upgrade`" in errors


def test_it_serves_and_prints_the_first_owners_way_in_until_there_is_one(teknav: Teknav, tmp_path: Path) -> None:
    port = free_port()
    lines: list[str] = []
    command = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", "serve", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
    with (tmp_path / "serve.log").open("w") as log:
        process = warm_python.Process(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        until(lambda: len(lines) >= 2, seconds=60, what="the printed link")
        assert lines[0].split() == ["Dashboard", f"http://127.0.0.1:{port}"]
        link = lines[1].split()[-1]

        with httpx.Client(timeout=30, headers={"accept": "text/html"}) as browser:
            until(lambda: process.poll() is None and _answers(browser, link), seconds=60, what="the server")
            made = browser.post(link, data={"name": "سارا", "password": PASSWORD, "again": PASSWORD})
            assert made.status_code == 303
            page = browser.get(f"http://127.0.0.1:{port}{made.headers['location']}")
            assert page.status_code == 200 and "TekNav" in page.text
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, (tmp_path / "serve.log").read_text()
        reader.join()
        process.stdout.close()
    assert link.rpartition("/")[2] not in (tmp_path / "serve.log").read_text()
    assert entrance().links.for_first_owner() is None


def _answers(browser: httpx.Client, url: str) -> bool:
    try:
        return browser.get(url).status_code == 200
    except httpx.TransportError:
        return False
