"""The examples in docs/api.md are run, in their order, against a served API with a relay and dead letters."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from teknav_ops.access.policy import Operation
from teknav_ops.events.relay import EventRelay
from teknav_ops.redis_state.connection import connect
from teknav_ops.topology import TOPOLOGY
from tests.support.dead_letters import make_dead_letters
from tests.support.redis_server import RedisServer
from tests.support.web import Web, api, served, settings_for

DOCS = (Path(__file__).parents[3] / "docs/api.md").read_text()
ADDRESS = "http://127.0.0.1:8800"


@pytest.fixture
def served_api(redis_server: RedisServer, tmp_path: Path) -> Iterator[Web]:
    """A served API on the real topology, with dead letters, and a relay that tells what happens."""
    client = connect(redis_server.url)
    make_dead_letters(client, "webhooks:deliver", 60)
    stopped = threading.Event()
    settings = settings_for(tmp_path, redis_server.url)
    relay = threading.Thread(target=_relay, args=(connect(redis_server.url), settings, stopped))
    relay.start()
    with served(api(settings)) as web:
        yield web
    stopped.set()
    relay.join()
    client.close()


def _relay(client: Any, settings: Any, stopped: threading.Event) -> None:
    relay = EventRelay(client, TOPOLOGY, events_per_second=settings.events_per_second, events_kept=settings.events_kept)
    while not stopped.is_set():
        relay.step()
    client.close()


def test_the_python_examples_do_what_they_say(
    served_api: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEKNAV_TOKEN", served_api.token(Operation.READ, Operation.ACT, Operation.ENQUEUE))
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS, re.S)).replace(ADDRESS, served_api.url)
    names: dict[str, Any] = {}

    exec(compile(code, "docs/api.md", "exec"), names)

    names["api"].close()
    assert "jobs would run again." in capsys.readouterr().out


def test_the_curl_example_enqueues_a_job(served_api: Web) -> None:
    token = served_api.token(Operation.ENQUEUE)
    (command,) = re.findall(r"```sh\n(curl .*?)```", DOCS, re.S)
    words = shlex.split(command.replace("\\\n", " ").replace("$TEKNAV_TOKEN", token).replace(ADDRESS, served_api.url))
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")

    answer = httpx.post(words[1], headers=headers, content=words[words.index("-d") + 1])

    assert answer.status_code == 201 and answer.json()["is_new"], answer.text


def test_the_tables_of_lists_and_errors_are_those_of_the_description(served_api: Web) -> None:
    app: Any = served_api.app
    description = app.openapi()
    for path, filters in re.findall(r"^\| `(/[^`]+)` \| .*? \| (.*?) \|$", DOCS, re.M):
        parameters = {each["name"] for each in description["paths"][f"/api/owner{path}"]["get"]["parameters"]}
        told = set(re.findall(r"`(\w+)`", filters))
        assert told == parameters - {"offset", "limit", "cursor", "sort"} - set(re.findall(r"{(\w+)}", path)), path
    statuses = {
        status
        for methods in description["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    assert statuses == set(re.findall(r"^\| (\d{3}) \|", DOCS, re.M)), json.dumps(sorted(statuses))
