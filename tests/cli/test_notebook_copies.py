"""`teknav lab` works on copies: the shipped notebooks stay as they are, and what somebody changed is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from teknav_ops.cli.notebook_copies import working_copies


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.ipynb").write_text(f"{name} 1")
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.ipynb")}


def test_what_is_saved_changes_the_copy_only(shipped: Path, tmp_path: Path) -> None:
    folder = working_copies(shipped, tmp_path / "data" / "notebooks")
    (folder / "one.ipynb").write_text("one 1, run")
    (folder / "mine.ipynb").write_text("mine")

    assert working_copies(shipped, folder) == folder
    assert texts(folder) == {"one.ipynb": "one 1, run", "two.ipynb": "two 1", "mine.ipynb": "mine"}
    assert texts(shipped) == {"one.ipynb": "one 1", "two.ipynb": "two 1"}
    assert folder.stat().st_mode & 0o077 == 0


def test_a_new_version_is_taken_where_nobody_changed_anything(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = working_copies(shipped, tmp_path / "notebooks")
    (folder / "one.ipynb").write_text("one 1, run")
    for name in ("one", "two", "three"):
        (shipped / f"{name}.ipynb").write_text(f"{name} 2")

    working_copies(shipped, folder)

    assert texts(folder) == {"one.ipynb": "one 1, run", "two.ipynb": "two 2", "three.ipynb": "three 2"}
    told = " ".join(capsys.readouterr().err.split())
    assert "one.ipynb: as you left them" in told and "--reset" in told


def test_a_reset_brings_them_back_and_keeps_what_was_changed(shipped: Path, tmp_path: Path) -> None:
    folder = working_copies(shipped, tmp_path / "notebooks")
    (folder / "one.ipynb").write_text("one 1, run")
    (folder / "mine.ipynb").write_text("mine")

    working_copies(shipped, folder, reset=True)

    found = texts(folder)
    assert (found.pop("one.ipynb"), found.pop("two.ipynb"), found.pop("mine.ipynb")) == ("one 1", "two 1", "mine")
    assert list(found.values()) == ["one 1, run"] and next(iter(found)).startswith("one.2")


@pytest.mark.parametrize("text", ["", "[]", "{", None])
def test_a_list_that_is_damaged_or_gone_loses_nothing(shipped: Path, tmp_path: Path, text: str | None) -> None:
    folder = working_copies(shipped, tmp_path / "notebooks")
    (folder / "one.ipynb").write_text("one 1, run")
    listed = folder / ".shipped.json"
    listed.unlink() if text is None else listed.write_text(text)

    assert texts(working_copies(shipped, folder)) == {"one.ipynb": "one 1, run", "two.ipynb": "two 1"}
