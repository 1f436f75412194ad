"""`teknav stats` from outside: tables, JSON, watching, and what it says when nobody publishes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from teknav_ops.cli.stats_table import span, sparkline
from teknav_ops.metrics.live import StatsPublisher
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import TOPOLOGY
from tests.support import warm_python
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.waiting import ANSWER_SECONDS, until

COMMAND = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", "stats"]


class Chief:
    """A leader by word of the test."""

    holder = "host:1:a"
    term = 1


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")}
    return {**plain, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path), "COLUMNS": "160",
            "LINES": "50", "PYTHONUTF8": "1", "TERM": "xterm-256color"}  # fmt: skip


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def begin(*arguments: str, **streams: Any) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams}
        running.append(warm_python.Process([*COMMAND, *arguments], env=environment, **streams))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def run(environment: dict[str, str], *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return warm_python.run(
        [*COMMAND, *arguments],
        env={**environment, **changes},
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )


def publish(client: redis.Redis) -> None:
    StatsPublisher(client, TOPOLOGY, Chief()).publish()  # type: ignore[arg-type]


def enqueue(client: redis.Redis, queue: str) -> None:
    job = scripts.NewJob(id=os.urandom(8).hex(), name="j", payload="{}")
    State(client).run(scripts.enqueue(QueueKeys(queue), idempotency_ms=1, actor="t", jobs=[job]))


def hour_of(client: redis.Redis, queue: str, **counts_by_age: int) -> None:
    minute = int(client.time()[0]) // 60
    for age, count in counts_by_age.items():
        client.hset(QueueKeys(queue).minute(minute - int(age[1:])), "j|completed", count)


def grow_old(client: redis.Redis, age_ms: int) -> None:
    for queue in TOPOLOGY:
        stats = json.loads(client.get(keys.stats(queue)))  # type: ignore[arg-type]
        stats["lastUpdatedAt"] -= age_ms
        client.set(keys.stats(queue), json.dumps(stats), pxat=stats["lastUpdatedAt"] + 3_600_000)


def test_what_needs_attention_comes_first(client: redis.Redis, environment: dict[str, str]) -> None:
    enqueue(client, "search:index")
    State(client).run(
        scripts.set_control(QueueKeys("otp:send"), actor="a", action="queue.paused", fields={"paused": "1"})
    )
    publish(client)

    lines = run(environment).stdout.splitlines()

    assert (
        lines[0].startswith("as of ") and "published by host:1:a" in lines[0] and "of runs that completed" in lines[0]
    )
    assert [line.split()[0] for line in lines[3:15]] == [
        "search:index", "otp:send", *(name for name in TOPOLOGY if name not in ("search:index", "otp:send")),
    ]  # fmt: skip
    assert lines[3].split()[1:3] == ["running", "1"] and lines[4].split()[1] == "paused"
    assert any("no worker takes them" in line for line in lines[15:])


def test_a_trouble_of_many_queues_is_told_once(client: redis.Redis, environment: dict[str, str]) -> None:
    for queue in TOPOLOGY:
        enqueue(client, queue)
    publish(client)

    text = run(environment).stdout

    assert text.count("no workers: ") == 1 and "no worker takes" not in text
    assert all(queue in text.partition("no workers: ")[2] for queue in TOPOLOGY)


def test_json_tells_all_of_it_and_a_queue_can_be_picked(client: redis.Redis, environment: dict[str, str]) -> None:
    hour_of(client, "email:send", m0=3, m59=4, m60=1_000)
    publish(client)

    answer = run(environment, "--json", "--queue", "email:send", "--queue", "ai:seo")

    found = json.loads(answer.stdout)
    assert (answer.returncode, found["isStale"], [row["queue"] for row in found["queues"]]) == (
        0, False, ["email:send", "ai:seo"],
    )  # fmt: skip
    first = found["queues"][0]
    assert {"waiting", "lastUpdatedAt", "p95DurationMs", "ageMs", "isStale"} <= set(first["stats"])
    # The minute may have changed since.
    assert len(first["endedPerMinute"]) == 60 and sum(first["endedPerMinute"]) in (7, 3)
    assert 3 in first["endedPerMinute"][-2:] and first["failedPerMinute"] == [0] * 60


def test_nobody_publishes_and_it_says_what_to_do(environment: dict[str, str]) -> None:
    answer = run(environment)
    assert answer.returncode == 0
    assert "no scheduler runs" in answer.stdout and "teknav up" in answer.stdout
    assert answer.stdout.count("unknown") == len(TOPOLOGY)

    found = json.loads(run(environment, "--json").stdout)
    assert (found["asOf"], found["isStale"]) == (None, True)
    assert all(row["stats"] is None for row in found["queues"])
    assert [note["kind"] for note in found["attention"]] == ["no-scheduler"]


def test_stale_stats_are_said_to_be_stale(client: redis.Redis, environment: dict[str, str]) -> None:
    enqueue(client, "search:index")
    publish(client)
    grow_old(client, 300_000)

    text = run(environment).stdout

    assert text.startswith("Stale, as of ") and "5 min ago" in text and "teknav up" in text
    assert "running" not in text and "no worker takes" not in text


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ("160", "active delayed workers"),
        ("86", "state oldest"),
        ("70", "done/min fail/min p95"),
        ("40", "wait dlq fail/min"),
    ],
)
def test_it_fits_the_terminal_and_cuts_no_number(
    client: redis.Redis, environment: dict[str, str], columns: str, names: str
) -> None:
    hour_of(client, "email:send", m5=9)
    client.hset(
        QueueKeys("email:send").minute(int(client.time()[0]) // 60 - 1), mapping={"j|completed": 10, "j|failed": 6_000}
    )
    client.zadd(QueueKeys("email:send").dlq, {str(number): number for number in range(6_001)})
    publish(client)

    text = run(environment, COLUMNS=columns).stdout
    row = next(line for line in text.splitlines() if line.startswith("email:send"))

    assert max(map(len, text.splitlines())) <= int(columns)
    # Those that were given up, in a minute of five, apart from those that were completed.
    assert "6,001" in row and "1,200" in row and "…" not in row
    header = next(line for line in text.splitlines() if line.startswith("queue "))
    assert all(name in header for name in names.split())
    assert ("█" in text) == ("last hour" in header) == (columns in ("160", "86"))
    assert "analytics:snapshot" in text


def test_an_unknown_queue_and_an_unreachable_redis_are_named(environment: dict[str, str]) -> None:
    assert run(environment, "--queue", "no:such").returncode == 2
    away = run(environment, TEKNAV_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert away.returncode == 3 and "Traceback" not in away.stderr


def test_watching_as_json_gives_a_line_per_publication(
    client: redis.Redis, start: Callable[..., subprocess.Popen[str]]
) -> None:
    publish(client)
    process = start("--watch", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    enqueue(client, "ai:seo")
    publish(client)
    second = json.loads(process.stdout.readline())

    assert second["asOf"] > first["asOf"]
    assert next(row for row in second["queues"] if row["queue"] == "ai:seo")["stats"]["waiting"] == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr is not None and process.stderr.read() == ""


def test_a_reader_that_has_enough_is_no_error(client: redis.Redis, start: Callable[..., subprocess.Popen[str]]) -> None:
    publish(client)
    process = start("--watch", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    def publish_until_it_ends() -> bool:
        publish(client)
        return process.poll() is not None

    until(publish_until_it_ends, what="its end")
    assert process.returncode == 0 and process.stderr.read() == ""


def shown(
    leader: int, awaited: Sequence[str], *, meanwhile: Callable[[], object] = lambda: None, seconds: float = 45
) -> str:
    """What a terminal shows until all of it has come. `meanwhile` is done again and again until then."""
    text, deadline = "", time.monotonic() + seconds
    while not all(word in text for word in awaited):
        meanwhile()
        assert time.monotonic() < deadline, text
        if select.select([leader], [], [], 0.2)[0]:
            text += os.read(leader, 65_536).decode(errors="replace")
    return text


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_is_kept_up_to_date_and_leaves_it_as_it_was(
    own_server: RedisServer, environment: dict[str, str], ending: signal.Signals
) -> None:
    environment["TEKNAV_REDIS_URL"] = own_server.url
    client = own_server.client()
    publish(client)
    leader, follower = pty.openpty()
    process = warm_python.Process(
        [*COMMAND, "--watch"], env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    shown(leader, ["\x1b[?25l", "search:index", "published by"], meanwhile=lambda: publish(client))
    client.zadd(QueueKeys("search:index").workers, {"w:1": int(client.time()[0]) * 1000})
    client.zadd(QueueKeys("search:index").dlq, {"j": 1})
    shown(leader, ["1 dead letter waits to be decided"], meanwhile=lambda: publish(client))
    own_server.kill()
    shown(leader, ["Redis does not answer"])
    own_server.start()
    # Stats grow stale: on a slow machine those of a moment ago may be too old by the time they are read.
    shown(leader, ["published by"], meanwhile=lambda: publish(client))

    process.send_signal(ending)

    # The cursor is there again.
    text = shown(leader, ["\x1b[?25h"])
    assert process.wait(20) == 0
    assert "Traceback" not in text
    os.close(leader)
    client.close()


def test_sparklines_scale_to_their_own_top_and_never_draw_something_as_nothing() -> None:
    assert sparkline([0, 0, 0, 0], [0] * 4, 4).plain == "▁▁▁▁"
    assert sparkline([0, 1, 1_000, 500], [0] * 4, 4).plain == "▁▂█▅"
    assert sparkline([1, 1, 2, 2], [0] * 4, 2).plain == "▅█"


def test_where_most_of_what_ended_failed_a_sparkline_is_red() -> None:
    drawn = sparkline([4, 4, 4, 0], [0, 1, 2, 0], 4)
    assert [str(span.style) for span in drawn.spans] == ["cyan", "cyan", "red", "cyan"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.4, "0 ms"), (999, "999 ms"), (1_500, "1.5 s"), (61_000, "61 s"), (300_000, "5 min"), (86_400_000, "24 h")],
)
def test_durations_are_told_in_their_largest_unit(ms: float, text: str) -> None:
    assert span(ms) == text
