"""Files that only their owner may open, and the few that others are to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from teknav_ops.private_files import keep_files_private, open_folders, private_folder
from teknav_ops.storage.database import Database
from workers.services.media import MediaStore

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=[0o022, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """What users of the machine commonly have set, and the most open one there is."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_what_a_process_writes_is_open_to_its_owner_only(tmp_path: Path) -> None:
    keep_files_private()
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "mail.eml").write_text("the link in it signs you in")

    assert [mode(path) & 0o077 for path in (tmp_path / "a", folder, folder / "mail.eml")] == [0, 0, 0]


def test_each_program_keeps_its_files_private() -> None:
    # These are begun by a program that does, or in its place, and have its umask.
    children = {
        "teknav_ops/engine/own_process.py",
        "teknav_ops/reports/child.py",
        "teknav_ops/runtime/demo/receivers.py",
    }
    programs = {path for path in ROOT.glob("teknav_ops/**/*.py") if "__main__" in path.read_text()}
    programs |= {ROOT / "teknav_ops/cli/app.py", ROOT / "workers/__init__.py"}

    open_ones = {str(path.relative_to(ROOT)) for path in programs if "keep_files_private()" not in path.read_text()}
    assert open_ones == children


@pytest.mark.usefixtures("umask")
def test_a_data_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    assert list(open_folders([folder, tmp_path / "none"])) == [(folder, "0755")]

    assert mode(private_folder(folder)) == 0o700
    assert list(open_folders([folder])) == []
    assert mode(private_folder(tmp_path / "new")) == 0o700


@pytest.mark.usefixtures("umask")
def test_a_database_that_another_program_opens_first_is_open_to_its_owner_only(tmp_path: Path) -> None:
    """A producer in an application of one's own, say: its umask stays what it is."""
    path = tmp_path / "data" / "records.sqlite3"
    database = Database.open(f"sqlite:///{path}")
    assert not path.exists()
    with database.session() as session:
        session.execute(text("create table a (b)"))
        modes = {each.name: mode(each) for each in [path.parent, *path.parent.iterdir()]}
    database.dispose()

    names = ("records.sqlite3", "records.sqlite3-shm", "records.sqlite3-wal")
    assert modes == {"data": 0o700, **dict.fromkeys(names, 0o600)}


@pytest.mark.usefixtures("umask")
def test_what_readers_are_shown_stays_open_to_their_web_server(tmp_path: Path) -> None:
    keep_files_private()
    store = MediaStore(tmp_path / "media")
    stored = store.path(store.put(b"picture", folder="variants", suffix="webp"))

    assert mode(stored) == 0o644
    # As one that died before it could open them leaves them.
    stored.parent.chmod(0o700)
    stored.unlink()
    assert store.path(store.put(b"picture", folder="variants", suffix="webp")) == stored
    assert {mode(folder) for folder in (stored.parent, stored.parent.parent, tmp_path / "media")} == {0o755}
