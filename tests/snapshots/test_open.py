"""Opening snapshots: the newest, read-only, hardened, by many at once."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest
import structlog

from teknav_ops.errors import InvalidRequest, NoSnapshot
from teknav_ops.settings import Settings
from teknav_ops.snapshots import work
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.open import Snapshot, open_snapshot
from teknav_ops.snapshots.questions import failures_in_window, p95_by_time, totals
from teknav_ops.snapshots.schema import SCHEMA_VERSION
from teknav_ops.storage.database import Database
from tests.snapshots.conftest import SnapshotOf
from tests.snapshots.rows import NOON, damage_column, run, store, texts


@pytest.fixture
def snapshot(snapshot_of: SnapshotOf) -> Snapshot:
    return snapshot_of([run(NOON, 5.0)] * 3)


def published_twice(database: Database, folder: Path, rows: Sequence[Any]) -> Exporter:
    """An exporter that has published these rows, then twice as many."""
    exporter = Exporter(database, folder)
    for _ in range(2):
        store(database, rows)
        exporter.export()
    return exporter


def test_where_there_is_none_the_error_says_what_to_do(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "missing", Settings(data_dir=tmp_path)):
        with pytest.raises(NoSnapshot, match="run `teknav audit snapshot`"):
            open_snapshot(where)


def test_it_says_what_it_is(sqlite_database: Database, tmp_path: Path) -> None:
    store(sqlite_database, [run(NOON, 5.0)] * 3)
    before = datetime.now(UTC)
    settings = Settings(data_dir=tmp_path)
    Exporter.from_settings(settings, sqlite_database).export()

    with open_snapshot(settings) as snapshot:
        assert before <= snapshot.as_of <= datetime.now(UTC)
        assert (snapshot.meta.watermark, snapshot.meta.row_count, snapshot.meta.ai_row_count) == (3, 3, 0)
        assert snapshot.path.name == "audit-00000001.duckdb"
    with pytest.raises(duckdb.Error):
        snapshot.cursor()


def test_the_newest_is_the_highest_number_whatever_the_clock_says(sqlite_database: Database, folder: Path) -> None:
    import os

    published_twice(sqlite_database, folder, [run(NOON, 5.0)])
    os.utime(folder / "audit-00000002.duckdb", (0, 0))
    (folder / "audit-00000099.duckdb.part").touch()
    (folder / "audit-x.duckdb").touch()

    with open_snapshot(folder) as snapshot:
        assert snapshot.path.name == "audit-00000002.duckdb"


@pytest.mark.parametrize(
    "statement",
    [
        "create table mine (a int)", "delete from audit", "from read_csv('/etc/passwd')",
        "copy audit to '/tmp/stolen.csv'",
        "attach '/tmp/other.duckdb'", "install httpfs", "load httpfs", "set threads = 3",
        "detach snapshot", "create table snapshot.main.mine (a int)", "attach '{path}' as again",
        "set enable_external_access = true", "set global TimeZone = 'Asia/Tehran'", "from not_a_table",
    ],
)  # fmt: skip
def test_whoever_may_type_sql_can_only_read(snapshot: Snapshot, statement: str) -> None:
    not_a_table = [1]  # A Python variable is no table either.
    with pytest.raises(duckdb.Error):
        snapshot.cursor().execute(statement.replace("{path}", str(snapshot.path)))
    assert not_a_table and snapshot.cursor().execute("select count(*) from audit").fetchone() == (3,)


@pytest.mark.parametrize("is_ours_first", [True, False])
def test_plain_duckdb_reads_the_file_beside_it(snapshot: Snapshot, folder: Path, *, is_ours_first: bool) -> None:
    if not is_ours_first:
        snapshot.close()
    with duckdb.connect(str(snapshot.path), read_only=True) as plain, open_snapshot(folder) as ours:
        cursor = ours.cursor()
        for asked in (plain, cursor, plain.cursor()):
            assert asked.execute("select count(*) from audit").fetchone() == (3,)
        # Each has its own configuration.
        assert plain.execute("select current_setting('enable_external_access')").fetchone() == (True,)
        assert cursor.execute("select current_setting('enable_external_access')").fetchone() == (False,)
    with duckdb.connect() as plain:
        plain.execute(f"attach '{snapshot.path}' as mine (read_only)")
        assert plain.execute("select count(*) from mine.audit").fetchone() == (3,)
    with open_snapshot(folder) as ours:
        assert ours.passed_over == ()


def test_who_has_the_file_open_for_writing_is_told_so(snapshot: Snapshot, folder: Path) -> None:
    with pytest.raises(duckdb.Error, match="already attached"):
        duckdb.connect(str(snapshot.path))
    snapshot.close()
    with duckdb.connect(str(snapshot.path)), pytest.raises(InvalidRequest, match="connect with read_only=True"):
        open_snapshot(folder)


def test_what_one_opener_types_is_nothing_to_another(snapshot: Snapshot, folder: Path) -> None:
    with open_snapshot(folder) as other:
        typed = other.cursor()
        typed.execute("use memory")
        typed.execute("detach snapshot")
    assert snapshot.cursor().execute("select count(*) from audit").fetchone() == (3,)


def test_a_question_larger_than_its_memory_goes_on_beside_the_file(snapshot: Snapshot) -> None:
    assert snapshot.cursor().execute("select current_setting('temp_directory')").fetchone() == (f"{snapshot.path}.tmp",)


def test_times_are_in_utc_for_every_opener(snapshot: Snapshot, folder: Path) -> None:
    with open_snapshot(folder) as again:
        for opened in (snapshot, again):
            assert opened.cursor().execute("select current_setting('TimeZone')").fetchone() == ("UTC",)
            assert str(totals(opened).first_at.dt.tz) == "UTC"


def test_its_questions_take_a_part_of_the_machine_s_memory_only(snapshot: Snapshot) -> None:
    def limit_bytes() -> float:
        number, unit = snapshot.cursor().execute("select current_setting('memory_limit')").fetchone()[0].split()
        return float(number) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit)

    assert limit_bytes() <= min(2 * 1024**3, psutil.virtual_memory().total / 4) * 1.01
    with pytest.raises(duckdb.Error):
        snapshot.cursor().execute("set memory_limit = '1 TB'")


def test_threads_ask_at_once(snapshot: Snapshot) -> None:
    start = threading.Barrier(8)

    def ask(_number: int) -> int:
        start.wait(30)
        return sum(int(p95_by_time(snapshot).n.sum()) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [30] * 8


def test_threads_open_at_once(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 5.0)] * 3)
    Exporter(sqlite_database, folder).export()

    def look(_number: int) -> int:
        with open_snapshot(folder) as opened:
            return int(totals(opened).completed[0])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(40))) == {3}


def test_one_that_was_collected_since_its_name_was_read_is_not_missed(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    lists = iter([[(0, folder / "audit-00000000.duckdb")]])
    generations = SnapshotFolder.generations
    monkeypatch.setattr(SnapshotFolder, "generations", lambda self: next(lists, None) or generations(self))

    with open_snapshot(folder) as snapshot:
        assert snapshot.path.name == "audit-00000001.duckdb"


def test_a_snapshot_stays_what_it_is_after_it_was_collected(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 5.0)])
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    with open_snapshot(folder) as held:
        for _ in range(4):
            store(sqlite_database, [run(NOON, 5.0)])
            exporter.export()
        for _, path in SnapshotFolder(folder).generations():
            import os

            os.utime(path, (1, time.time() - 3_600))
        exporter.export()
        assert not held.path.exists()

        assert int(totals(held).completed[0]) == 1
        with open_snapshot(folder) as newest:
            assert int(totals(newest).completed[0]) == 5


def test_a_file_of_another_schema_version_is_refused(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SCHEMA_VERSION", 99)
    Exporter(sqlite_database, folder).export()
    with pytest.raises(NoSnapshot, match="schema version 99"):
        open_snapshot(folder)


def torn(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def overwritten(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) - 4_096)
    return content[:at] + chance.randbytes(4_096) + content[at + 4_096 :]


def one_bit_flipped(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def emptied(content: bytes, chance: random.Random) -> bytes:
    return b""


def foreign(content: bytes, chance: random.Random) -> bytes:
    return b"SQLite format 3\0" + content


@pytest.mark.parametrize(
    ("damage", "keeps_time"),
    [
        (torn, False),
        (overwritten, True),
        (one_bit_flipped, True),
        (one_bit_flipped, False),
        (emptied, False),
        (foreign, False),
    ],
)
def test_a_damaged_newest_one_is_passed_over_and_published_anew_at_once(
    sqlite_database: Database, folder: Path, damage: Callable[[bytes, random.Random], bytes], *, keeps_time: bool
) -> None:
    exporter = published_twice(sqlite_database, folder, [run(NOON, 5.0)])
    newest = folder / "audit-00000002.duckdb"
    written = newest.stat()
    newest.write_bytes(damage(newest.read_bytes(), random.Random(damage.__name__)))
    if keeps_time:
        os.utime(newest, ns=(written.st_atime_ns, written.st_mtime_ns))

    with structlog.testing.capture_logs() as lines, open_snapshot(folder) as older:
        assert (older.path.name, older.passed_over) == ("audit-00000001.duckdb", (newest,))
        assert int(totals(older).completed[0]) == 1
    assert [line["event"] for line in lines] == ["snapshot.passed_over"]

    # Nothing new is there to be exported; also where another process finds it.
    for another in (exporter, Exporter(sqlite_database, folder)):
        again = another.export()
    assert again.path is None
    with open_snapshot(folder) as anew:
        assert (anew.path.name, anew.passed_over) == ("audit-00000003.duckdb", ())
        assert int(totals(anew).completed[0]) == 2


def test_one_that_was_copied_or_touched_is_as_it_was_published(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 5.0)])
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    os.utime(folder / "audit-00000001.duckdb", (5, 5))

    with open_snapshot(folder) as snapshot:
        assert snapshot.passed_over == ()
    assert exporter.export().path is None


@pytest.mark.parametrize(
    "statement",
    [
        "create table snapshot_meta (schema_version integer)",
        "create table snapshot_meta as select null as schema_version",
        f"create table snapshot_meta as select {SCHEMA_VERSION} as schema_version",
        f"create table snapshot_meta as select {SCHEMA_VERSION} as schema_version, null::timestamptz as kept_from, "
        "null::timestamptz as exported_at; create table audit (id bigint); create table ai_run (id bigint)",
    ],
)
def test_a_newest_one_of_another_shape_is_passed_over(sqlite_database: Database, folder: Path, statement: str) -> None:
    exporter = Exporter(sqlite_database, folder)
    store(sqlite_database, [run(NOON, 5.0)])
    exporter.export()
    with duckdb.connect(str(folder / "audit-00000009.duckdb")) as connection:
        connection.execute(statement)

    with open_snapshot(folder) as older:
        assert older.path.name == "audit-00000001.duckdb"
    assert exporter.export().path == folder / "audit-00000010.duckdb"


def test_a_newest_one_of_another_program_is_passed_over(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 5.0)])
    Exporter(sqlite_database, folder).export()
    with contextlib.closing(sqlite3.connect(folder / "audit-00000009.duckdb")) as connection:
        connection.execute("create table snapshot_meta (schema_version integer)")
        connection.commit()

    with open_snapshot(folder) as older:
        assert older.path.name == "audit-00000001.duckdb"


def test_one_without_a_seal_is_read(sqlite_database: Database, folder: Path) -> None:
    Exporter(sqlite_database, folder).export()
    for content in ("", "{}", "null", "[" * 100_000, None):
        if content is None:
            (folder / "audit-00000001.seal").unlink()
        else:
            (folder / "audit-00000001.seal").write_text(content)
        with open_snapshot(folder) as snapshot:
            assert snapshot.path.name == "audit-00000001.duckdb"
    # And followed by one that has.
    assert Exporter(sqlite_database, folder).export().path == folder / "audit-00000002.duckdb"
    assert Exporter(sqlite_database, folder).export().path is None


@pytest.mark.parametrize("seal", ["gone", "unreadable", "a folder"])
def test_a_damaged_newest_one_without_a_seal_is_passed_over_and_published_anew_at_once(
    sqlite_database: Database, folder: Path, seal: str
) -> None:
    exporter = published_twice(sqlite_database, folder, texts(2_000))
    newest, sealed = folder / "audit-00000002.duckdb", folder / "audit-00000002.seal"
    sealed.unlink()
    if seal == "unreadable":
        sealed.write_bytes(b"\xff\0")
    elif seal == "a folder":
        sealed.mkdir()
    damage_column(newest, "error")

    with open_snapshot(folder) as older:
        assert (older.path.name, older.passed_over) == ("audit-00000001.duckdb", (newest,))
    for another in (exporter, Exporter(sqlite_database, folder)):
        another.export()
    assert SnapshotFolder(folder).newest() == folder / "audit-00000003.duckdb"
    with open_snapshot(folder) as anew:
        assert anew.passed_over == () and len(failures_in_window(anew, limit=9_999)) == 4_000


def test_a_folder_in_the_place_of_a_seal_stops_neither_exports_nor_readers(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    for number in (2, 3):
        (folder / f"audit-{number:08d}.seal" / "kept").mkdir(parents=True)
    store(sqlite_database, [run(NOON, 5.0)])

    assert exporter.export().path == folder / "audit-00000004.duckdb"
    with open_snapshot(folder) as snapshot:
        assert (snapshot.path.name, int(totals(snapshot).completed[0])) == ("audit-00000004.duckdb", 1)


def test_one_that_is_damaged_after_it_was_opened_is_said_so_and_passed_over_by_the_next(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = published_twice(sqlite_database, folder, texts(2_000))
    newest = folder / "audit-00000002.duckdb"

    with open_snapshot(folder) as opened:
        damage_column(newest, "error")
        with pytest.raises(NoSnapshot, match=r"audit-00000002\.duckdb has been damaged since"):
            failures_in_window(opened, limit=9_999)
        with open_snapshot(folder) as older:
            assert (older.passed_over, len(failures_in_window(older, limit=9_999))) == ((newest,), 2_000)
    assert exporter.export().path == folder / "audit-00000003.duckdb"


@pytest.mark.parametrize("target", ["nowhere", "audit-00000002.duckdb"])
def test_a_newest_name_that_leads_nowhere_or_to_itself_is_passed_over_and_followed(
    sqlite_database: Database, folder: Path, target: str
) -> None:
    exporter = published_twice(sqlite_database, folder, [run(NOON, 5.0)])
    newest = folder / "audit-00000002.duckdb"
    newest.unlink()
    newest.symlink_to(folder / target)

    with open_snapshot(folder) as older:
        assert (older.path.name, older.passed_over) == ("audit-00000001.duckdb", (newest,))
    assert exporter.export().path == folder / "audit-00000003.duckdb"
    store(sqlite_database, [run(NOON, 5.0)])
    newest.rename(folder / "audit-00000004.duckdb")
    (folder / "work" / "audit.work.duckdb").unlink()
    assert Exporter(sqlite_database, folder).export().path == folder / "audit-00000005.duckdb"


def test_a_folder_that_cannot_be_listed_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("file", "loop"):
        with pytest.raises(NoSnapshot, match=f"{name} cannot be listed.*TEKNAV_SNAPSHOT_DIR"):
            open_snapshot(tmp_path / name)


def test_a_damaged_file_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "audit-00000001.duckdb").write_bytes(b"torn")
    with pytest.raises(NoSnapshot, match="audit-00000001"):
        open_snapshot(folder)
