"""The key that is made for development: one, whole, and the same for everybody who begins at once."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from teknav_ops.errors import MissingSecretKey
from teknav_ops.secret_key import cipher_keys, digest
from teknav_ops.settings import Settings


def test_threads_that_begin_at_once_get_one_key(tmp_path: Path) -> None:
    for round_number in range(20):
        settings = Settings(data_dir=tmp_path / str(round_number))
        with ThreadPoolExecutor(8) as pool:
            found = {keys[0] for keys in pool.map(cipher_keys, [settings] * 8)}

        assert found == {(settings.data_dir / "secret.key").read_text()}
        assert [path.name for path in settings.data_dir.iterdir()] == ["secret.key"]
        assert stat.S_IMODE((settings.data_dir / "secret.key").stat().st_mode) == 0o600


def test_a_key_that_is_there_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    first = cipher_keys(settings)
    monkeypatch.setattr("teknav_ops.secret_key.new_file", lambda *args, **more: pytest.fail("written again"))
    assert cipher_keys(settings) == first


def test_a_disk_that_is_full_is_named_and_nothing_is_left_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = Settings(data_dir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(MissingSecretKey, match=f"^data_dir: no key can be kept in {tmp_path}: No space left"):
            cipher_keys(settings)
    assert list(tmp_path.iterdir()) == []
    assert len(cipher_keys(settings)) == 1


def test_production_asks_for_a_key(tmp_path: Path) -> None:
    with pytest.raises(MissingSecretKey, match="TEKNAV_SECRET_KEY is required"):
        cipher_keys(Settings(data_dir=tmp_path, environment="production"))
    with pytest.raises(MissingSecretKey, match="each key must be"):
        cipher_keys(Settings(data_dir=tmp_path, secret_key="short"))


def test_digests_of_one_value_differ_by_purpose_and_stay_the_same(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert digest(settings, "a", "v") == digest(settings, "a", "v") != digest(settings, "b", "v")
