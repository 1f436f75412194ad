"""Jobs, dead letters, replays, alerts and a report, in every place that can be read; and what changed since.

Words are planted wherever a payload, a result, an error or a note is kept: who may not read payloads must meet none.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Final

import redis
from sqlalchemy import select

from teknav_ops.access import totp
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.api.services import Services
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Failure, NewJob, Run, ScriptRunner
from teknav_ops.reports.runs import Delivered, RunMeta
from teknav_ops.reports.store import LOG, META, NOTEBOOK, PAGE, ReportStore
from teknav_ops.storage.tables import AccessToken, AlertDelivery
from teknav_ops.storage.tables.base import Base
from teknav_ops.topology import TOPOLOGY
from tests.support.web import PASSWORD

QUEUE: Final = "email:send"
PAUSED_QUEUE: Final = "otp:send"
PREPARER: Final = Operator("preparer", Role.OWNER)
TRACE: Final = "ab" * 16
REPORT, REPORT_RUN = "weekly", "20260101T000000Z-abc123"

#: Whoever is changed or taken away, over REST and on a page.
SPARE_USERS: Final = (
    "spare-disable",
    "spare-factor",
    "spare-password",
    "spare-remove",
    "spare-role",
    "spare-session",
    "spare-page",
    "spare-page-remove",
)
#: Place -> the word planted there.
WORDS: Final = {
    "payload": "zebra-payload", "result": "zebra-result", "error": "zebra-error", "stack": "zebra-stack",
    "progress": "zebra-progress", "key": "zebra-key", "detail": "zebra-detail", "delivery": "zebra-delivery",
    "report": "zebra-report",
}  # fmt: skip
#: Keys that change by being asked, whoever asks.
_OWN_KEYS: Final = ("teknav:session:", "teknav:user-sessions:", "teknav:sign-in-", "teknav:refusals:")
#: Written by refusals and by signing in, which is what refused requests may do.
_OWN_ACTIONS: Final = ("user.refused", "user.signed_in", "user.sign_in_refused", "user.signed_out")


class PreparedData:
    """The data, and a way back to it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.client = services.client
        self._raw = redis.Redis.from_url(str(services.settings.redis_url))
        self._runner, self._keys = ScriptRunner(services.client), QueueKeys(QUEUE)
        self._prepare_jobs()
        self._prepare_records()
        self._prepare_people()
        self._dumps = self._dump()

    @property
    def path_values(self) -> dict[str, str]:
        """Path parameters that name something there is."""
        return {
            "queue": QUEUE, "job_id": "dead-1", "replay_id": self.previewed, "deletion_id": self.deletion,
            "name": REPORT, "run": REPORT_RUN, "file": LOG, "user": "spare", "token": "spare", "session": self.session,
        }  # fmt: skip

    def spare_session(self, identity: Identity) -> str:
        """The handle of a session of the same person, made to be ended."""
        name, role = identity.operator.name, identity.operator.role
        opened = self.services.entrance.sessions.open(name, role, user_id=None, epoch=0)
        return opened.session.id[:12]

    def second_factor_of(self, identity: Identity, *, is_on: bool) -> str:
        """Let the person have a second factor that is on, or one that is begun; answers its app's present code."""
        factors, user_id = self.services.entrance.factors, identity.user_id
        assert user_id is not None
        factors._remove(user_id)
        code = totp.code_of(factors.begin(user_id, identity.operator.name).key, int(time.time() // 30))
        if is_on:
            factors.confirm(user_id, identity.operator.name, code)
        return code

    def forget_refusals(self) -> None:
        """Let refusals be written down again, however many this minute holds already."""
        self._raw.delete("none", *self._raw.scan_iter("teknav:refusals:*"))

    def reset(self) -> bool:
        """Put back what was in Redis. False when nothing there had changed."""
        now = self._dump()
        changed = [key for key in now.keys() | self._dumps.keys() if now.get(key) != self._dumps.get(key)]
        pipeline = self.client.pipeline(transaction=True)
        for key in changed:
            pipeline.execute_command("UNLINK", key)
            if key in self._dumps:
                pipeline.execute_command("RESTORE", key, 0, self._dumps[key])
        pipeline.execute()
        # A copy of a key may be laid out in another way than its original.
        self._dumps = self._dump() if changed else self._dumps
        return bool(changed)

    def state(self) -> dict[str, Any]:
        """What Redis and SQL hold, but for sessions and notes of who was refused: equal when nothing has changed."""
        return {**self._dump(), **self._rows()}

    def _dump(self) -> dict[str, bytes]:
        keys = [key.decode() for key in self._raw.scan_iter(count=1_000)]
        keys = sorted(key for key in keys if not key.startswith(_OWN_KEYS))
        pipeline = self._raw.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
        return dict(zip(keys, pipeline.execute(), strict=True))

    def _rows(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with self.services.database.reading() as session:
            for table in Base.metadata.sorted_tables:
                rows = [row._mapping for row in session.execute(select(table))]
                if table.name == "audit_log":
                    rows = [row for row in rows if row["action"] not in _OWN_ACTIONS]
                skipped = {"last_used_at"} if table is AccessToken.__table__ else {"signed_in_at"}
                found[table.name] = sorted(
                    repr({name: value for name, value in row.items() if name not in skipped}) for row in rows
                )
        return found

    def rows(self) -> dict[str, Any]:
        """What SQL holds, but for what refusals and signing in write."""
        return self._rows()

    def _prepare_people(self) -> None:
        """Users and tokens that are there to be changed, each once."""
        entrance = self.services.entrance
        for name in ("spare", *SPARE_USERS):
            user = entrance.users.add(PREPARER, name, Role.VIEWER, PASSWORD)
            if name == "spare-factor":
                code = totp.code_of(entrance.factors.begin(user.id, name).key, int(time.time() // 30))
                entrance.factors.confirm(user.id, name, code)
        for token in ("spare", "spare-page"):
            entrance.tokens.create(PREPARER, token, role=Role.OWNER, scopes=[Operation.METRICS], life=None)
        opened = entrance.sessions.open("spare-session", Role.VIEWER, user_id=None, epoch=0)
        self.session = opened.session.id[:12]

    # Jobs ------------------------------------------------------------------------------------------

    def _prepare_jobs(self) -> None:
        for name in ("done-1", "dead-1", "dead-2", "active-1"):
            self._enqueue(name)
        first, second, third, active = self._runner.run(
            scripts.fetch(
                self._keys, count=4, lease_ms=3_600_000, worker="w:1", global_concurrency=0, rate_count=0,
                rate_period_ms=0,
            )
        ).deliveries  # fmt: skip
        result = json.dumps({"answer": WORDS["result"]})
        self._runner.run(
            scripts.complete(
                self._keys, worker="w:1", completed_kept=100, wakes=False, runs=[(_run_of(first), result)]
            )
        )  # fmt: skip
        for delivery in (second, third):
            self._runner.run(
                scripts.dead_letter(
                    self._keys, worker="w:1", run=_run_of(delivery), failure=_failure(), failed_kept=100
                )
            )  # fmt: skip
        self._runner.run(
            scripts.report_progress(
                self._keys, job_id=active.id, delivery=active.delivery, fraction=0.5, note=WORDS["progress"]
            )
        )  # fmt: skip
        self.client.zadd(self._keys.workers, {"w:1": datetime.now(UTC).timestamp() * 1000})
        self._enqueue("waiting-1")
        self._enqueue("delayed-1", delay_ms=3_600_000)

    def _enqueue(self, job_id: str, **options: Any) -> None:
        mail = {"to": "reader@example.com", "subject": WORDS["payload"], "text": "hello"}
        job = NewJob(
            id=job_id, name="send-email", payload=json.dumps(mail), trace_id=TRACE,
            idempotency_key=f"{WORDS['key']}-{job_id}", **options,
        )  # fmt: skip
        self._runner.run(scripts.enqueue(self._keys, idempotency_ms=3_600_000, actor="platform", jobs=[job]))

    # What operators did, and what was told -----------------------------------------------------------

    def _prepare_records(self) -> None:
        control = self.services.control(PREPARER)
        control.pause(PAUSED_QUEUE)
        self.previewed = control.preview_replay(QUEUE, DeadLetterFilter(), limit=10).id
        self.running = control.start_replay(QUEUE, control.preview_replay(QUEUE, DeadLetterFilter(), limit=1).id).id
        self.deletion = control.preview_deletion(QUEUE, DeadLetterFilter()).id
        with self.services.operator_log.record(
            "dlq.replayed", actor="preparer", queue=QUEUE, job_id="dead-1", was={"subject": WORDS["detail"]}
        ):
            pass
        delivery = AlertDelivery(
            message_id="m1", channel="mail", event="opened", rule="waiting", notice={}, error=WORDS["delivery"]
        )
        with self.services.database.session() as session:
            session.add(delivery)
        self._write_report()

    def _write_report(self) -> None:
        folder = ReportStore(self.services.settings.report_root).folder(REPORT, REPORT_RUN)
        folder.mkdir(parents=True)
        told = Delivered(channel="mail", status="failed", words=WORDS["report"])
        meta = RunMeta(
            name=REPORT, run=REPORT_RUN, title="Weekly", status="failed", who="preparer",
            parameters={"text": WORDS["report"]}, started_at=datetime(2026, 1, 1, tzinfo=UTC),
            error=WORDS["report"], deliveries=(told,),
        )  # fmt: skip
        (folder / META).write_text(meta.model_dump_json())
        for file in (PAGE, NOTEBOOK, LOG):
            (folder / file).write_text(f"<html>{WORDS['report']}</html>")


def _run_of(delivery: Any) -> Run:
    return Run(delivery.id, delivery.delivery, 1_700_000_000_000, 5.0, "b41")


def _failure() -> Failure:
    attempt = {
        "attempt": 1, "delivery": 1, "started_at": 0, "duration_ms": 5, "worker": "w:1", "error_type": "MailRefused",
        "error": WORDS["error"], "stack": WORDS["stack"],
    }  # fmt: skip
    return Failure("MailRefused", WORDS["error"], WORDS["stack"], "f00dfeed0001", json.dumps(attempt))


assert QUEUE in TOPOLOGY and PAUSED_QUEUE in TOPOLOGY
