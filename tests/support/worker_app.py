"""A worker for tests that kill: `python -m dramatiq tests.support.worker_app`.

Effects go to SQLite: `happened` gets a row each time, `effects` one per job in the same transaction.
`TEST_CRASH=before:complete` kills the process with SIGKILL just before (or `after:`) it sends that
script, once: the file named by TEST_CRASH_FLAG remembers. `TEST_TIME_LIMIT_MS` is that of `work` alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dramatiq

from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.redis_state.scripts import Call, ScriptRunner
from teknav_ops.settings import Settings
from tests.support.topology import TOPOLOGY, Confide, Poison, Work

DATABASE = os.environ["TEST_EFFECTS"]


def open_effects(path: str = DATABASE) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30, isolation_level=None)


class Effects:
    def find(self, job_id: str) -> Mapping[str, Any] | None:
        connection = open_effects()
        try:
            row = connection.execute("select summary from effects where job_id = ?", [job_id]).fetchone()
        finally:
            connection.close()
        return json.loads(row[0]) if row else None

    def require_writes(self) -> None:
        """It is a file of the test: always."""


@processor("work")
def work(job: Work, ctx: JobContext[None]) -> Mapping[str, Any]:
    if ctx.attempt <= job.fail_times:
        raise ConnectionError(f"attempt {ctx.attempt} was to fail")
    time.sleep(job.seconds)
    summary = {"number": job.number}
    connection = open_effects()
    try:
        connection.execute("begin immediate")
        connection.execute("insert into happened values (?, ?, ?)", [ctx.job_id, job.number, os.getpid()])
        connection.execute("insert into effects values (?, ?)", [ctx.job_id, json.dumps(summary)])
        connection.execute("commit")
    finally:
        connection.close()
    return summary


@processor("other")
def other(job: Work, ctx: JobContext[None]) -> None:
    work(job, ctx)


@processor("poison")
def poison(job: Poison, ctx: JobContext[None]) -> None:
    with contextlib.closing(open_effects()) as connection:
        connection.execute("insert into happened values (?, 0, ?)", [ctx.job_id, os.getpid()])
    os.kill(os.getpid(), signal.SIGKILL)


@processor("confide")
def confide(job: Confide, ctx: JobContext[None]) -> None:
    raise ValueError(f"could not deliver {job.secret.get_secret_value()}")


def _crash(moment: str, calls: list[Call[Any]]) -> None:
    wanted, _, script = os.environ.get("TEST_CRASH", "").partition(":")
    if wanted != moment or script not in {call.script.name for call in calls}:
        return
    try:
        os.close(os.open(os.environ["TEST_CRASH_FLAG"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _with_crash_points() -> None:
    run, run_many = ScriptRunner.run, ScriptRunner.run_many

    def run_or_crash(runner: ScriptRunner, call: Call[Any]) -> Any:
        _crash("before", [call])
        answer = run(runner, call)
        _crash("after", [call])
        return answer

    def run_many_or_crash(runner: ScriptRunner, calls: list[Call[Any]]) -> list[Any]:
        _crash("before", calls)
        answers = run_many(runner, calls)
        _crash("after", calls)
        return answers

    ScriptRunner.run, ScriptRunner.run_many = run_or_crash, run_many_or_crash  # type: ignore[method-assign, assignment]


Path(DATABASE).parent.mkdir(parents=True, exist_ok=True)
settings = Settings()
broker = build_broker(settings, os.environ["TEKNAV_REDIS_URL"], effects=Effects(), topology=TOPOLOGY)
_with_crash_points()
register(broker, [work, other, poison, confide], services=None)
if limit_ms := os.environ.get("TEST_TIME_LIMIT_MS"):
    broker.get_actor("work").options["time_limit"] = int(limit_ms)
dramatiq.set_broker(broker)
