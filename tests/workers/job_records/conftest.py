"""A job that a test brings where it likes, and the duties that write its record."""

from __future__ import annotations

import os
import signal
import uuid
from typing import Any

import pytest
import redis
from sqlalchemy import select

from teknav_ops.audit.lag import known_lags
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.jobs.sketch import bucket
from teknav_ops.platform.job_records.follower import JobRecordFollower
from teknav_ops.platform.job_records.sweep import JobRecordSweep
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Call, Delivery, Failure, NewJob, ScriptRunner
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import EmailQueue
from teknav_ops.topology import TOPOLOGY
from tests.support.sql_moments import at_commit_of
from tests.support.state import failure, run_of


class Records:
    """Jobs by the scripts, their records in SQL, and what the scheduler does about them."""

    def __init__(self, client: redis.Redis, database: Database) -> None:
        self.client, self.database = client, database
        self._runner = ScriptRunner(client)  # type: ignore[arg-type]
        self.writer = AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
        self.follower = JobRecordFollower(client, database)  # type: ignore[arg-type]
        self.sweep = JobRecordSweep(client, database, lambda: known_lags(client, TOPOLOGY))  # type: ignore[arg-type]
        self.follow()

    def follow(self) -> None:
        """What the scheduler does within two seconds."""
        self.writer.drain()
        while self.follower.step():
            pass

    def run(self, call: Call[Any]) -> Any:
        return self._runner.run(call)

    def enqueue(self, queue: str = "email:send", **facts: Any) -> str:
        job = NewJob(**{"id": str(uuid.uuid4()), "name": "work", "payload": "{}", **facts})
        call = scripts.enqueue(QueueKeys(queue), idempotency_ms=86_400_000, actor="test", jobs=[job])
        return str(self.run(call)[0].job_id)

    def begun(self, queue: str = "email:send", **facts: Any) -> tuple[str, Delivery]:
        job_id = self.enqueue(queue, **facts)
        return job_id, self.fetch(queue)

    def fetch(self, queue: str = "email:send") -> Delivery:
        limits = {"global_concurrency": 0, "rate_count": 0, "rate_period_ms": 0}
        call = scripts.fetch(QueueKeys(queue), count=1, lease_ms=30_000, worker="w:1", **limits)
        return self.run(call).deliveries[0]

    def lose(self, queue: str = "email:send", *, limit: int = 3) -> None:
        """The worker dies; the lease keeper of another takes its job back, or gives it up."""
        keys = QueueKeys(queue)
        for job_id in self.client.zrange(keys.active, 0, -1):
            self.client.zadd(keys.active, {job_id: 1})
        reclaimed = self.run(scripts.reclaim(keys, count=10, lost_limit=limit, lease_ms=30_000, worker="w:2"))
        for job_id, number, _ in reclaimed.doomed:
            self.give_up(job_id, number, queue, error_type="WorkerLost")

    def give_up(self, job_id: str, number: int, queue: str = "email:send", *, error_type: str = "ValueError") -> None:
        """Dead-letter the job's delivery of that number."""
        run = scripts.Run(job_id, number, 1_700_000_000_000, 5.0, bucket(5.0))
        told = Failure(error_type, "broken", "Traceback", "f1", "{}")
        call = scripts.dead_letter(QueueKeys(queue), worker="w:1", run=run, failure=told, failed_kept=5_000)
        assert self.run(call) == 1

    def postpone(self, delivery: Delivery, queue: str = "email:send") -> None:
        call = scripts.postpone(
            QueueKeys(queue),
            worker="w:1",
            run=run_of(delivery),
            failure=failure(),
            delay_ms=60_000,
            uses_attempt=True,
            series="",
        )
        self.run(call)

    def complete(self, delivery: Delivery, queue: str = "email:send") -> None:
        runs = [(run_of(delivery), '{"status": "sent"}')]
        self.run(scripts.complete(QueueKeys(queue), worker="w:1", completed_kept=1_000, wakes=False, runs=runs))

    def cancel(self, job_id: str, queue: str = "email:send", *, kept: int = 100) -> None:
        call = scripts.cancel(QueueKeys(queue), job_id=job_id, actor="cli:olga", cancelled_kept=kept)
        assert self.run(call) == "cancelled"

    def replay(self, job_id: str, queue: str = "email:send") -> None:
        call = scripts.replay_dead_letters(QueueKeys(queue), actor="cli:olga", failures=[(job_id, None)])
        assert self.run(call) == 1

    def mail(self, job_id: str, status: str | None = None, **facts: Any) -> tuple[str, str | None]:
        """The mail's record: status and error. With a status it is written first, as a processor would."""
        if status is not None:
            with self.database.session() as session:
                session.add(
                    EmailQueue(
                        job_id=job_id,
                        to_address="a@example.com",
                        subject="s",
                        language="en",
                        message_id=f"<{job_id}@h>",
                        status=status,
                        attempt_count=1,
                        **facts,
                    )
                )
        with self.database.reading() as session:
            row = session.scalars(select(EmailQueue).where(EmailQueue.job_id == job_id)).one()
            return row.status, row.error


@pytest.fixture
def records(client: redis.Redis, database: Database) -> Records:
    return Records(client, database)


def follow_and_die(url: str, sql_url: str, statement: str) -> None:
    """Die as the transaction commits in which that statement was executed."""
    database = Database.open(sql_url)
    with at_commit_of(database, statement, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        JobRecordFollower(connect(url, timeout_seconds=5), database).step()
