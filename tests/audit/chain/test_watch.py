"""The scheduler's own verification, and the anchor in Redis that tells when the chain ends too early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import delete, func, insert, select, text, update

from teknav_ops.access.policy import Operator, Role
from teknav_ops.alerts.conditions import evaluate
from teknav_ops.alerts.facts import FactReader
from teknav_ops.audit.chain import database_source
from teknav_ops.audit.chain.anchor import read_anchor
from teknav_ops.audit.chain.lines import content_hash, digest, id_of, read_lines
from teknav_ops.audit.chain.links import Facts, LinkKeys, append, newest_link, pack_ids
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.vouching import vouch
from teknav_ops.audit.chain.watch import ChainVerdict, ChainWatch, read_verdict
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.audit.retention import AuditRetention
from teknav_ops.control import Control
from teknav_ops.errors import InvalidRequest, NotAllowed
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state import keys
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog, AuditSeal
from tests.alerts.conftest import rules
from tests.audit.chain.conftest import BLOCK, KEYS, Check, fill, put, seal_all
from tests.support.redis_server import RedisServer
from tests.support.tampering import without_guard
from tests.support.topology import TOPOLOGY

CUT = "rows were cut off"


@pytest.fixture
def watch(client: redis.Redis, database: Database, monkeypatch: pytest.MonkeyPatch) -> ChainWatch:
    monkeypatch.setattr(database_source, "_LINKS_AT_ONCE", 1)
    return ChainWatch(client, database, KEYS, rows_at_once=BLOCK)  # type: ignore[arg-type]


def look(watch: ChainWatch, client: redis.Redis) -> ChainVerdict:
    watch.step()
    verdict = read_verdict(client)  # type: ignore[arg-type]
    assert verdict is not None
    return verdict


def whole_round(watch: ChainWatch, client: redis.Redis) -> Iterator[ChainVerdict]:
    """Verdicts until the watch begins anew, or stays where it is."""
    before = None
    while before is None or before.after_number:
        verdict = look(watch, client)
        yield verdict
        if verdict.fault:
            return
        before = verdict


def cut_off(database: Database, after_number: int) -> None:
    with without_guard(database), database.session() as session:
        last = session.scalar(select(AuditSeal.last_id).where(AuditSeal.number == after_number))
        session.execute(delete(AuditLog).where(AuditLog.id > last))
        session.execute(delete(AuditSeal).where(AuditSeal.number > after_number))


@pytest.mark.each_database
def test_every_row_is_compared_in_parts_and_what_is_found_stays_until_it_is_gone(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)

    clear = list(whole_round(watch, client))
    assert [verdict.fault for verdict in clear] == [None] * len(clear) and len(clear) > 2
    assert clear[0].round_at is None and clear[-1].round_at == clear[-1].at

    with without_guard(database), database.session() as session:
        session.execute(update(AuditLog).where(AuditLog.id == 30).values(actor="mina"))
    assert "row 30 was changed" in (list(whole_round(watch, client))[-1].fault or "")
    assert "row 30 was changed" in (look(watch, client).fault or ""), "it stays there"

    with without_guard(database), database.session() as session:
        session.execute(update(AuditLog).where(AuditLog.id == 30).values(actor="host:1"))
    assert [verdict.fault for verdict in whole_round(watch, client)][-1] is None


@pytest.mark.each_database
def test_the_end_of_the_chain_that_was_cut_off_is_missed(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)
    look(watch, client)
    anchor = read_anchor(client)  # type: ignore[arg-type]
    assert anchor is not None and anchor.number == 4

    cut_off(database, 2)

    assert f"the chain ends at link 2, but link 4 was there before: {CUT}" in (look(watch, client).fault or "")
    put(database, 25, first=1_000)
    seal_all(sealer)
    assert f"link 4 is not the one that was there before: {CUT}" in (look(watch, client).fault or "")
    assert read_anchor(client) == anchor, "nothing moves the anchor on"  # type: ignore[arg-type]


def test_after_a_restore_an_owner_accepts_the_chain_as_it_is(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    def control(role: Role) -> Control:
        log = OperatorLog(database)
        return Control(client, Operator("sara", role), log, cipher=Cipher([]), topology=TOPOLOGY)  # type: ignore[arg-type]

    fill(database, sealer)
    look(watch, client)
    before = read_anchor(client)  # type: ignore[arg-type]
    cut_off(database, 2)
    assert CUT in (look(watch, client).fault or "")

    with pytest.raises(NotAllowed):
        control(Role.OPERATOR).audit_chain.accept(reason="restored")
    with pytest.raises(InvalidRequest, match="reason"):
        control(Role.OWNER).audit_chain.accept(reason=" ")
    assert CUT in (look(watch, client).fault or "")

    anchor = control(Role.OWNER).audit_chain.accept(reason="restored last night's copy")

    assert anchor is not None and before is not None and anchor.number == 2
    assert look(watch, client).fault is None
    with database.session() as session:
        row = session.scalars(select(AuditLog).where(AuditLog.action == "audit.chain_accepted")).one()
    assert (row.actor, row.outcome) == ("sara", "done")
    assert row.detail == {
        "reason": "restored last night's copy",
        "before": f"4:{before.hash}",
        "anchor": f"2:{anchor.hash}",
    }


def test_an_emptied_redis_knows_no_more_and_the_chain_is_anchored_anew(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)
    look(watch, client)
    before = read_anchor(client)  # type: ignore[arg-type]
    client.flushdb()

    assert look(watch, client).fault is None
    after = read_anchor(client)  # type: ignore[arg-type]
    assert before is not None and after is not None
    assert (after.number, after.since > before.since) == (4, True), "it says since when something is known"


@pytest.mark.each_database
def test_retention_takes_links_before_the_anchor_and_the_anchor_itself(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    rows = [{"at": datetime.now(UTC) - timedelta(days=40), "action": "job.failed"} for _ in range(3 * BLOCK)]
    with database.session() as session:
        session.execute(insert(AuditLog), rows)
    seal_all(sealer)
    look(watch, client)
    with database.session() as session:
        session.execute(insert(AuditLog), [{"at": datetime.now(UTC), "action": "job.failed"}])
    seal_all(sealer)

    # Of blocks it also asks since when they have been on record.
    with without_guard(database), database.session() as session:
        old = datetime.now(UTC) - timedelta(days=35)
        session.execute(update(AuditSeal).where(AuditSeal.number <= 3).values(sealed_at=old))
    while AuditRetention(database, KEYS, keep_days=30).step():
        pass
    with database.reading() as session:
        assert (session.scalar(select(func.min(AuditSeal.number))) or 0) > 3

    assert [verdict.fault for verdict in whole_round(watch, client)][-1] is None


def link_of_a_stranger(database: Database) -> None:
    """A block under a key that is not ours, whose link vouches for itself."""
    stranger = LinkKeys([b"x" * 32])
    put(database, BLOCK, first=1_000)
    with database.session() as session:
        newest, last_id = newest_link(session), session.scalar(select(func.max(AuditLog.id))) or 0
        assert newest is not None
        lines = list(read_lines(session, newest.last_id, last_id))
        append(
            session,
            stranger,
            newest,
            last_id=last_id,
            row_count=BLOCK,
            ids=pack_ids(list(map(id_of, lines))),
            digests=b"".join(map(digest, lines)),
            content_hash=content_hash(lines),
            facts=Facts(vouched={stranger.newest: newest.number + 1}).text(),
        )


def test_parts_before_a_link_that_vouches_for_them_are_no_finding(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)
    both, new = LinkKeys([b"n" * 32, b"k" * 32]), LinkKeys([b"n" * 32])
    assert vouch(database, both)
    later = ChainWatch(client, database, new, rows_at_once=BLOCK)  # type: ignore[arg-type]

    assert {verdict.fault for verdict in whole_round(later, client)} == {None}

    # The last part ends with them to the row.
    link_of_a_stranger(database)
    assert "is signed with key" in (list(whole_round(later, client))[-1].fault or "")


@pytest.mark.each_database
def test_links_of_a_stranger_are_found_though_our_own_follow_them(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)
    assert list(whole_round(watch, client))[-1].fault is None
    link_of_a_stranger(database)
    for block in range(3):
        put(database, BLOCK, first=2_000 + block * BLOCK)
        seal_all(sealer)

    *_, found = whole_round(watch, client)
    assert "link 5 is signed with key" in (found.fault or "")
    assert "link 5 is signed with key" in (look(watch, client).fault or ""), "it stays there"


def test_an_alert_tells_it_once(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    def conditions() -> list[tuple[str, Any]]:
        facts = FactReader(client, TOPOLOGY, listed).read()  # type: ignore[arg-type]
        return [(each.state, each.message) for each in evaluate(listed, facts)]

    listed = rules({"kind": "audit_changed"})
    assert {state for state, _ in conditions()} == {"unknown"}
    fill(database, sealer)
    old = ChainWatch(client, database, KEYS, now=lambda: datetime.now(UTC) - timedelta(minutes=11))  # type: ignore[arg-type]
    look(old, client)
    assert conditions()[0][0] == "unknown" and "since" in conditions()[0][1], "it may have stopped, and tells nothing"
    look(watch, client)
    assert {state for state, _ in conditions()} == {"clear"}

    with without_guard(database), database.session() as session:
        session.execute(text("delete from audit_log where id = 3"))
    look(watch, client)
    while not look(watch, client).fault:
        pass

    first, *others = conditions()
    assert first[0] == "firing" and "row 3 was removed" in first[1]
    assert {state for state, _ in others} == {"clear"}
    assert FactReader(client, TOPOLOGY, rules({"kind": "stats_stale"})).read().chain is None  # type: ignore[arg-type]


def test_a_successor_goes_on_where_the_watch_was(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch
) -> None:
    fill(database, sealer)
    first = look(watch, client)
    assert first.after_number == 1 and client.exists(keys.AUDIT_WATCH)

    successor = ChainWatch(client, database, KEYS, rows_at_once=BLOCK)  # type: ignore[arg-type]
    assert look(successor, client).after_number > first.after_number


@pytest.mark.parametrize("what", ["last_id = 'soon'", "pruned_to_number = 'x', pruned_to_id = 1", "facts = x'00'"])
def test_a_newest_link_that_holds_what_none_can_is_told_of_and_stops_nothing(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch, check: Check, what: str
) -> None:
    fill(database, sealer)
    look(watch, client)
    with without_guard(database), database.session() as session:
        session.execute(text(f"update audit_seal set {what} where number = 4"))

    assert look(watch, client).fault
    assert list(whole_round(watch, client))[-1].fault
    assert check().findings[0].link == 4


def test_what_redis_does_not_show_now_is_still_known(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch, redis_server: RedisServer
) -> None:
    fill(database, sealer)
    look(watch, client)
    cut_off(database, 2)
    client.acl_setuser("no-reader", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-get"])
    try:
        url = redis_server.url.replace("://", "://no-reader:x@")
        with redis.Redis.from_url(url, decode_responses=True) as blind, pytest.raises(redis.ResponseError):
            ChainWatch(blind, database, KEYS).step()  # type: ignore[arg-type]
    finally:
        client.acl_deluser("no-reader")
    assert CUT in (look(watch, client).fault or ""), "no other link became the anchor"


@pytest.mark.parametrize("key", [keys.AUDIT_ANCHOR, keys.AUDIT_WATCH])
def test_what_others_put_in_place_of_what_is_known_stops_nothing(
    client: redis.Redis, database: Database, sealer: AuditSealer, watch: ChainWatch, key: str
) -> None:
    fill(database, sealer)
    names = ("number", "hash", "since") if key == keys.AUDIT_ANCHOR else ("fault", "at", "after_number", "round_at")
    kinds: list[Any] = [[1], {}, None, 1.5, 2**70, "\0"]
    of_another_kind = [json.dumps(dict.fromkeys(names, value)) for value in kinds]
    for nonsense in ("{", "[1]", '{"since": 1}', "[" * 100_000, *of_another_kind, None):
        client.delete(key)
        client.rpush(key, "a list") if nonsense is None else client.set(key, nonsense)
        listed = rules({"kind": "audit_changed"})
        assert FactReader(client, TOPOLOGY, listed).read().queues  # type: ignore[arg-type]
        assert look(watch, client).fault is None
