"""Who seals, when, and who dies: the chain has each row once."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, text

from teknav_ops.audit.chain import sealer as sealer_module
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.export import ExportSource, write_export
from teknav_ops.audit.chain.links import append
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.verify import verify
from teknav_ops.errors import InvalidRequest
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.audit.chain.conftest import KEYS, NOON, Check, fill, put, seal_all
from tests.support import warm_python
from tests.support.tampering import without_guard


@pytest.mark.each_database
def test_rows_that_were_there_before_the_chain_are_sealed_as_they_are_found(
    database: Database, sealer: AuditSealer, check: Check
) -> None:
    put(database, 25)
    assert (check().unsealed_count, check().newest) == (25, None)

    assert [sealer.step(), sealer.step(), sealer.step(), sealer.step()] == [True, True, False, False]

    assert (check().row_count, check().link_count, check().unsealed_count) == (25, 3, 0)


def test_a_part_of_a_block_is_sealed_when_its_time_has_come(
    database: Database, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(sealer_module, "time", SimpleNamespace(monotonic=lambda: now))
    sealer = AuditSealer(database, KEYS, every_seconds=60)
    put(database, 1)
    sealer.step()
    put(database, 1, first=10)
    sealer.step()
    assert check().unsealed_count == 1

    now += 60
    sealer.step()

    assert check().unsealed_count == 0


def test_of_two_sealers_one_seals(
    database: Database, sealer: AuditSealer, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, sealer)
    put(database, 3, first=200)
    other = AuditSealer(database, KEYS, every_seconds=0)

    def overtaken(session: Any, keys: Any, previous: Any, **facts: Any) -> Any:
        monkeypatch.setattr(sealer_module, "append", append)
        # It has read the end of the chain; what follows is what a slow one would do.
        stale = append(session, keys, previous, **facts)
        return append(session, keys, previous, **facts) if stale else None

    monkeypatch.setattr(sealer_module, "append", overtaken)
    assert sealer.step() is True
    assert check().unsealed_count == 3
    seal_all(other)
    put(database, 3, first=300)
    seal_all(sealer)

    assert (check().is_intact, check().unsealed_count) == (True, 0)


def _seal_and_die(database_url: str, moment: str) -> None:
    database = Database.open(database_url)
    sealer = AuditSealer(database, KEYS, every_seconds=0)

    def append_and_die(*arguments: Any, **facts: Any) -> Any:
        if moment == "after":
            append(*arguments, **facts)
        os.kill(os.getpid(), signal.SIGKILL)

    sealer_module.append = append_and_die
    sealer.step()


@pytest.mark.each_database
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sealer_that_is_killed_leaves_no_half_link(
    database: Database, database_url: str, sealer: AuditSealer, check: Check, moment: str
) -> None:
    fill(database, sealer)
    put(database, 5, first=200)
    process = warm_python.start_function(_seal_and_die, database_url, moment)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL
    assert (check().is_intact, check().unsealed_count) == (True, 5)

    seal_all(AuditSealer(database, KEYS, every_seconds=0))

    assert (check().is_intact, check().unsealed_count) == (True, 0)


@pytest.mark.each_database
def test_a_row_that_is_committed_late_is_sealed_in_its_place(
    database: Database, sealer: AuditSealer, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.is_sqlite:
        pytest.skip("one transaction writes at a time")
    monkeypatch.setattr(sealer_module, "_SETTLE_SECONDS", 0.0)
    slow = database.engine.connect()
    slow.execute(insert(AuditLog).values(at=NOON, action="slow"))
    put(database, 3)

    assert sealer.step() is False
    assert check().newest is None
    slow.commit()
    slow.close()
    seal_all(sealer)

    assert (check().is_intact, check().row_count, check().unsealed_count) == (True, 4, 0)


@pytest.mark.each_database
def test_an_export_is_verified_without_the_database(
    database: Database, sealer: AuditSealer, check: Check, tmp_path: Path
) -> None:
    fill(database, sealer)
    whole, changed = tmp_path / "whole.gz", tmp_path / "changed.gz"
    with source_of(database) as source:
        assert write_export(source.session, whole) == 35
    found = verify(ExportSource(whole), KEYS)
    assert (found.is_intact, found.row_count, found.newest) == (True, 35, check().newest)

    with without_guard(database), database.session() as session:
        session.execute(text("delete from audit_log where id = 3"))
        session.execute(text("update audit_log set actor = 'mina' where id in (15, 16, 30)"))
    with source_of(database) as source:
        write_export(source.session, changed)

    told = [(each.row_id, each.kind) for each in verify(ExportSource(changed), KEYS).findings]
    assert told == [(3, "removed"), (15, "changed"), (16, "changed"), (30, "changed")]
    with pytest.raises(InvalidRequest, match="cannot be written: File exists"), source_of(database) as source:
        write_export(source.session, whole)
    for damage in (b"", whole.read_bytes()[:-20], b"no gzip"):
        changed.write_bytes(damage)
        with pytest.raises(InvalidRequest, match="file: "):
            verify(ExportSource(changed), KEYS)


def test_an_export_for_which_there_is_no_room_is_refused_by_name_and_leaves_nothing(
    database: Database, sealer: AuditSealer, tmp_path: Path
) -> None:
    fill(database, sealer)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with source_of(database) as source, pytest.raises(InvalidRequest, match=r"file: .*cannot be written: "):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        try:
            write_export(source.session, tmp_path / "whole.gz")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "whole.gz").exists()


def test_an_export_has_its_name_once_it_is_whole(database: Database, sealer: AuditSealer, tmp_path: Path) -> None:
    fill(database, sealer)
    path = tmp_path / "exports" / "whole.gz"
    path.parent.mkdir()
    are_there: list[bool] = []

    # Whoever is killed in the middle leaves nothing under that name.
    with source_of(database) as source:
        write_export(source.session, path, on_progress=lambda _: are_there.append(path.exists()))

    assert set(are_there) == {False} and list(path.parent.iterdir()) == [path]


def test_an_export_does_not_replace_a_file_that_came_meanwhile(
    database: Database, sealer: AuditSealer, tmp_path: Path
) -> None:
    fill(database, sealer)
    path = tmp_path / "exports" / "whole.gz"
    path.parent.mkdir()

    with source_of(database) as source, pytest.raises(InvalidRequest, match=r"file: .*: File exists"):
        write_export(source.session, path, on_progress=lambda _: path.touch())

    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"", [path])


def test_an_export_is_read_once_so_that_it_may_come_through_a_pipe(
    database: Database, sealer: AuditSealer, tmp_path: Path
) -> None:
    fill(database, sealer)
    with source_of(database) as source:
        write_export(source.session, tmp_path / "whole.gz")
    reader, writer = os.pipe()
    os.write(writer, (tmp_path / "whole.gz").read_bytes())
    os.close(writer)

    found = verify(ExportSource(Path(f"/dev/fd/{reader}")), KEYS)

    assert (found.is_intact, found.row_count) == (True, 35)
    os.close(reader)


def test_an_export_whose_head_says_other_than_its_links_is_refused(
    database: Database, sealer: AuditSealer, tmp_path: Path
) -> None:
    fill(database, sealer)
    whole, changed = tmp_path / "whole.gz", tmp_path / "changed.gz"
    with source_of(database) as source:
        write_export(source.session, whole)
    head, *lines = gzip.decompress(whole.read_bytes()).splitlines(keepends=True)
    first = lines[0].removeprefix(b"L ").decode()

    facts = json.loads(head)["facts"]
    assert len(facts) > 1
    checkpoint = json.dumps(json.loads(first) | {"pruned_to_id": 9, "pruned_to_number": 1})
    lies = [{"facts": told} for told in ([], facts[:-1], [*facts, facts[0]], facts[::-1], None)]
    lies += [{"checkpoint": told} for told in ("x", first, checkpoint)]
    for lie in lies:
        told = json.dumps(json.loads(head) | lie).encode() + b"\n"
        changed.write_bytes(gzip.compress(b"".join([told, *lines])))
        with pytest.raises(InvalidRequest, match="file: "):
            verify(ExportSource(changed), KEYS)
