"""Changing the secret key: everything that is sealed comes under the new one, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet
from sqlalchemy import select

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.export import ExportSource, write_export
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.verify import verify
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import NotAllowed, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.payloads.key_ring import tokens_in
from teknav_ops.producer import Producer
from teknav_ops.redis_state import keys as redis_keys
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.secret_rotation.in_tables import SEALED_COLUMNS
from teknav_ops.secret_rotation.secret_keys import KeyStatus
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AccessTotp, AuditLog, Base, WebhookEndpoint
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SARA = Operator("sara", Role.OWNER)
SECRET = "گذرواژه-4711"


class House:
    """A system whose key was changed: what was sealed under the old one, and who acts with both."""

    def __init__(self, client: redis.Redis, database: Database) -> None:
        self.client, self.database = client, database
        self.state = State(client)

    def control(self, *keys: str, operator: Operator = SARA) -> Control:
        return Control(self.client, operator, OperatorLog(self.database), cipher=Cipher(list(keys)), topology=TOPOLOGY)  # type: ignore[arg-type]

    def enqueue(self, key: str = OLD, **options: Any) -> str:
        producer = Producer(self.client, cipher=Cipher([key]), topology=TOPOLOGY, timeout_seconds=2)  # type: ignore[arg-type]
        return producer.enqueue(QUEUE, "confide", {"secret": SECRET}, **options).job_id

    def fill(self) -> dict[str, str]:
        """A job in each state, by state."""
        jobs = {"completed": self.enqueue(), "failed": self.enqueue(), "active": self.enqueue()}
        held = {delivery.id: delivery for delivery in self.state.fetch(3)}
        self.state.complete(held[jobs["completed"]])
        self.state.dead_letter(held[jobs["failed"]])
        jobs |= {"delayed": self.enqueue(delay=60), "waiting": self.enqueue(), "cancelled": self.enqueue()}
        self.control(OLD).cancel(QUEUE, jobs["cancelled"])
        return jobs

    def readable_with(self, *keys: str) -> list[str]:
        """Which records a process with these keys can read."""
        names = sorted(self.client.scan_iter(match=redis_keys.SEALED_RECORDS))
        ring = Cipher(list(keys)).keys
        return [
            name
            for name in names
            if all(
                ring.opener(token)
                for text in self.client.hmget(name, "payload", "first_payload")
                for token in tokens_in(text or "")
            )
        ]


@pytest.fixture
def house(client: redis.Redis, database: Database) -> House:
    return House(client, database)


def counts(status: KeyStatus, place: int) -> list[int]:
    return next(list(key.counts.values()) for key in status.keys if key.place == place)


@pytest.mark.each_database
def test_everything_that_is_sealed_comes_under_the_current_key_and_the_old_one_can_go(house: House) -> None:
    jobs = house.fill()
    old = house.control(OLD)
    old.webhooks.add("one", "https://example.com/hook")
    before = {state: house.state.job(job_id) for state, job_id in jobs.items()}
    AuditSealer(house.database, LinkKeys(Cipher([OLD]).keys.chain_keys), every_seconds=0).step()
    with house.database.session() as session:
        session.add(AccessTotp(user_id=7, sealed_key=Cipher([OLD]).encrypt("totp", place="a place")))
    both = house.control(NEW, OLD)

    found = both.keys.status()
    assert (counts(found, 1), counts(found, 2)) == ([0] * 5, [6, 1, 1, 1, 1])
    assert (found.waiting_count, found.removable) == (10, [])
    after = both.keys.reencrypt()

    assert counts(after, 1) == [6, 1, 1, 1, 1]
    assert [key.place for key in after.removable] == [2]
    assert house.control(NEW).keys.status().waiting_count == 0
    for state, job_id in jobs.items():
        now = house.state.job(job_id)
        assert now.pop("payload") != before[state].pop("payload")
        assert (now, JobQueries(house.client, TOPOLOGY).get(QUEUE, job_id).state) == (before[state], state)  # type: ignore[arg-type]
    house.control(NEW).run_again(QUEUE, jobs["completed"])
    with house.database.session() as session:
        totp = session.scalars(select(AccessTotp)).one()
        assert Cipher([NEW]).decrypt(totp.sealed_key, place="a place") == "totp"
        assert Cipher([NEW]).decrypt(session.scalars(select(WebhookEndpoint.sealed_secret)).one()).startswith("whsec_")
        entry = session.scalars(select(AuditLog).where(AuditLog.action == "keys.reencrypted")).one()
    assert (entry.actor, entry.outcome) == ("sara", "done")
    assert entry.detail["resealed"] == {  # type: ignore[index]
        "job payloads": 6,
        "dead letters": 1,
        "webhook secrets": 1,
        "second factors": 1,
    }


def test_links_of_a_key_that_is_gone_are_trusted_where_the_chain_vouches_for_them_and_nowhere_else(
    house: House, tmp_path: Path
) -> None:
    def seal(*keys: str) -> None:
        OperatorLog(house.database)._begin({"action": "queue.paused", "actor": "sara", "queue": QUEUE}, {})
        AuditSealer(house.database, LinkKeys(Cipher(list(keys)).keys.chain_keys), every_seconds=0).step()

    def check(*keys: str, source: Any = None) -> list[str]:
        with source_of(house.database) as database:
            found = verify(source or database, LinkKeys(Cipher(list(keys)).keys.chain_keys))
        return [finding.text.partition(":")[0] for finding in found.findings]

    newest = Fernet.generate_key().decode()
    seal(OLD)
    seal(NEW, OLD)
    assert "is signed with key" in check(NEW)[0]
    house.control(NEW, OLD).keys.reencrypt()
    assert check(NEW) == check(NEW, OLD) == []
    # Of a second change, the one before last is vouched for again: its voucher's key goes too.
    seal(newest, NEW)
    house.control(newest, NEW).keys.reencrypt()
    seal(newest)
    assert check(newest) == []
    with source_of(house.database) as source:
        write_export(source.session, tmp_path / "export.gz")
    assert check(newest, source=ExportSource(tmp_path / "export.gz")) == []
    # A link that somebody else appends vouches for nothing.
    seal(OLD)
    assert len(check(newest)) == 1
    stranger = Fernet.generate_key().decode()
    house.control(stranger, newest, OLD).keys.reencrypt()
    assert len(check(newest)) == 2


def test_a_chain_that_is_not_intact_is_not_vouched_for(house: House) -> None:
    AuditSealer(house.database, LinkKeys(Cipher([OLD]).keys.chain_keys), every_seconds=0).step()
    house.control(OLD).pause(QUEUE)
    AuditSealer(house.database, LinkKeys(Cipher([OLD]).keys.chain_keys), every_seconds=0).step()
    job_id = house.enqueue()

    with pytest.raises(WrongState, match="is signed with key"):
        house.control(NEW).keys.reencrypt()
    with pytest.raises(WrongState, match="audit verify"):
        house.control(NEW, Fernet.generate_key().decode()).keys.reencrypt()
    assert house.control(NEW).keys.status().unreadable == {"job payloads": 1}
    assert house.control(NEW).keys.status().unreadable_examples == [f"job payloads: {KEYS.job(job_id)}"]


def test_what_happens_to_a_job_between_reading_and_writing_is_not_undone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited, gone, dies = house.enqueue(), house.enqueue(), house.enqueue()
    by_id = {delivery.id: delivery for delivery in house.state.fetch(3)}
    house.state.dead_letter(by_id[edited])
    house.state.complete(by_id[gone])
    run_many, meanwhile = ScriptRunner.run_many, [True]

    def late(self: ScriptRunner, calls: Any) -> Any:
        if meanwhile.pop() if meanwhile else False:
            house.control(OLD).replay(QUEUE, edited, data={"secret": "another"})
            house.client.delete(KEYS.job(gone))
            # Its letter is a copy of what has not been written yet.
            house.state.dead_letter(by_id[dies])
        return run_many(self, calls)

    monkeypatch.setattr(ScriptRunner, "run_many", late)
    after = house.control(NEW, OLD).keys.reencrypt()

    assert not meanwhile and after.waiting_count == 0
    assert not house.client.exists(KEYS.job(gone))
    assert len(house.readable_with(NEW)) == 3
    again = house.control(NEW).run_again
    with pytest.raises(WrongState):
        again(QUEUE, edited)
    held = next(delivery for delivery in house.state.fetch(5) if delivery.id == edited)
    house.state.complete(held)
    assert again(QUEUE, edited).is_new


def test_a_process_that_is_killed_half_way_leaves_all_readable_and_the_next_goes_on(
    redis_server: RedisServer, house: House, tmp_path: Path, database_url: str
) -> None:
    for _ in range(60):
        house.enqueue()
    program = (
        "import os, signal, sys\n"
        "from teknav_ops.secret_rotation import in_redis\n"
        "from teknav_ops.cli.app import main\n"
        "in_redis._RECORDS_AT_ONCE = 10\n"
        "run_many, calls = in_redis.ScriptRunner.run_many, []\n"
        "def killed(self, some):\n"
        "    calls.append(some)\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if len(calls) == 3 else run_many(self, some)\n"
        "in_redis.ScriptRunner.run_many = killed\n"
        "sys.argv = ['teknav', 'keys', 'reencrypt']\n"
        "main()\n"
    )
    environment = os.environ | {
        "TEKNAV_REDIS_URL": redis_server.url,
        "TEKNAV_DATABASE_URL": database_url,
        "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": f"{NEW},{OLD}",
    }
    command = [sys.executable, "-c", program]
    killed = warm_python.Process(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert killed.wait(60) == -signal.SIGKILL
    assert len(house.readable_with(NEW)) == 20
    assert len(house.readable_with(NEW, OLD)) == 60
    house.control(NEW, OLD).keys.reencrypt()
    assert len(house.readable_with(NEW)) == 60
    with house.database.session() as session:
        entries = session.scalars(select(AuditLog).where(AuditLog.action == "keys.reencrypted").order_by(AuditLog.id))
        assert [(e.outcome, e.detail.get("resealed")) for e in entries] == [  # type: ignore[union-attr]
            ("requested", None),
            ("done", {"job payloads": 40}),
        ]


def test_a_worker_that_does_not_know_the_key_is_named_before_anything_is_written(house: House) -> None:
    house.enqueue()
    house.state.run(scripts.extend_leases(KEYS, worker="host:1", lease_ms=30_000, held=[]))

    def says(*keys: str) -> None:
        text = json.dumps({"key_ids": Cipher(list(keys)).keys.ids})
        house.state.run(scripts.put_text(redis_keys.worker("host:1"), text=text, ttl_ms=60_000))

    says(OLD)
    with pytest.raises(WrongState, match="host:1 started without the current key"):
        house.control(NEW, OLD).keys.reencrypt()
    assert house.readable_with(NEW) == []
    says(OLD, NEW)
    found = house.control(NEW, OLD).keys.reencrypt()
    assert (found.waiting_count, found.other_workers, found.removable) == (0, ["host:1"], [])
    says(NEW, OLD)
    assert len(house.control(NEW, OLD).keys.status().removable) == 1


def test_every_column_by_the_name_of_sealed_is_among_those_that_are_walked() -> None:
    named = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "sealed" in column.name and table.name != "audit_seal"
    }
    assert named == {f"{each.table.name}.{each.name}" for _, _, columns in SEALED_COLUMNS for each in columns}


def test_a_record_that_cannot_be_read_is_no_record_without_secrets(house: House, redis_server: RedisServer) -> None:
    """Else its key would be needed for nothing, and whoever removed it would lose what is under it."""
    house.client.rpush(redis_keys.QueueKeys(QUEUE).job("not-ours"), "a list")
    house.enqueue()
    assert house.control(NEW, OLD).keys.status().waiting_count == 1

    url = redis_server.url.replace("://", "://no-reader:x@")
    house.client.acl_setuser("no-reader", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-hmget"])
    try:
        with redis.Redis.from_url(url, decode_responses=True) as blind:
            for operation in ("status", "reencrypt"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    getattr(House(blind, house.database).control(NEW, OLD).keys, operation)()
    finally:
        house.client.acl_deluser("no-reader")


def test_only_an_owner_may(house: House) -> None:
    for operation in ("status", "reencrypt"):
        with pytest.raises(NotAllowed):
            getattr(house.control(OLD, operator=Operator("omid", Role.OPERATOR)).keys, operation)()


def test_a_payload_is_the_same_but_for_its_sealed_values() -> None:
    token, ring = Cipher([OLD]).encrypt("a"), Cipher([NEW, OLD]).keys
    text = f'{{"a":"{{\\"$secret\\":\\"{token}\\"}}","n":1e5,"b":[{{"$secret":"{token}"}}],"c":{{"$secret":"x"}}}}'
    new = ring.resealed_payload(text)

    (kept, _) = tokens_in(new)
    assert new == text.replace(f'[{{"$secret":"{token}"', f'[{{"$secret":"{kept}"')
    assert Cipher([NEW]).decrypt(kept) == "a" and Cipher([NEW]).keys.opener("x") is None
