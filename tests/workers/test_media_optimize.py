"""media:optimize: real photographs, and everything that is not one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pyvips
from dramatiq.middleware import TimeLimitExceeded

from teknav_ops import sample_content
from teknav_ops.errors import Away, PermanentError
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import File
from tests.support import warm_python
from tests.workers.conftest import MakeContext
from workers.media_optimize import UnknownFile, optimize_image
from workers.services import Services
from workers.services.images import ImageDamaged, ImageTooLarge, NotAnImage, UnsupportedImage
from workers.services.media import MediaStore, StorageFailed, UnsafePath

PHOTOS = {path.name: path for path in sample_content.photo_paths()}


def upload(
    services: Services, content: bytes, name: str = "photo.jpg", stored: str | None = None, write: bool = False
) -> int:
    path = stored or services.media.put(content, folder="originals", suffix=name.rpartition(".")[2])
    if write:
        services.media.path(path).parent.mkdir(parents=True)
        services.media.path(path).write_bytes(content)
    with services.database.session() as session:
        file = File(storage_path=path, original_name=name, variants=[])
        session.add(file)
        session.flush()
        return file.id


def file_row(services: Services, file_id: int) -> File:
    with services.database.session() as session:
        return session.get_one(File, file_id)


def variant_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (folder / "media" / "variants").rglob("*") if path.is_file()}


def order(file_id: int, **facts: Any) -> OptimizeImage:
    return OptimizeImage(file_id=file_id, **{"widths": (64, 160), **facts})


def test_a_photograph_becomes_variants_and_its_row_says_so(services: Services, make_context: MakeContext) -> None:
    file_id = upload(services, PHOTOS["china.jpg"].read_bytes())
    progress: list[float] = []
    ctx = make_context(report_progress=lambda fraction, note: progress.append(fraction))

    summary = optimize_image(order(file_id), ctx)

    row = file_row(services, file_id)
    assert (row.status, row.width, row.height, row.media_type) == ("optimized", 640, 427, "image/jpeg")
    assert [(v["format"], v["width"]) for v in row.variants] == [
        (kind, width) for width in (64, 160) for kind in ("avif", "webp", "jpeg")
    ]
    for variant in row.variants:
        image = pyvips.Image.new_from_file(str(services.media.path(variant["path"])))
        assert (image.width, image.height) == (variant["width"], variant["height"])
    assert (row.placeholder or "").startswith("data:image/webp;base64,") and len(row.placeholder or "") < 700
    assert progress == pytest.approx([step / 6 for step in range(1, 7)])
    assert SqlEffects(services.database).find(ctx.job_id) == summary


def test_running_twice_writes_the_same_files(services: Services, make_context: MakeContext, tmp_path: Path) -> None:
    file_id = upload(services, PHOTOS["flower.jpg"].read_bytes())
    ctx = make_context()
    summary = optimize_image(order(file_id), ctx)
    before, row = variant_files(tmp_path), file_row(services, file_id)

    # What is there already is left alone, so the second run writes into an empty folder too.
    assert optimize_image(order(file_id), ctx) == summary
    assert variant_files(tmp_path) == before
    shutil.rmtree(tmp_path / "media" / "variants")
    optimize_image(order(file_id), ctx)

    again = file_row(services, file_id)
    assert len(before) == 6 and variant_files(tmp_path) == before
    assert (again.variants, again.placeholder, again.sha256) == (row.variants, row.placeholder, row.sha256)


def test_nothing_is_enlarged(services: Services, make_context: MakeContext) -> None:
    file_id = upload(services, PHOTOS["chelsea.png"].read_bytes())

    optimize_image(order(file_id, widths=(320, 1280, 1920), formats=("webp",)), make_context())

    assert [variant["width"] for variant in file_row(services, file_id).variants] == [320, 451]


JPEG = PHOTOS["china.jpg"].read_bytes()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NotAnImage),
        (b"hello", NotAnImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", NotAnImage),
        (b"%PDF-1.4 " + b"x" * 500, NotAnImage),
        (JPEG[: len(JPEG) // 2], ImageDamaged),
        (bytes(pyvips.Image.black(10_000, 5_001).pngsave_buffer(compression=9)), ImageTooLarge),
        (bytes(pyvips.Image.black(8, 8).cast("float").tiffsave_buffer()), UnsupportedImage),
    ],
    ids=["empty", "text", "svg", "pdf", "truncated", "pixel bomb", "float"],
)
def test_what_is_no_whole_image_is_rejected_for_good(
    services: Services, make_context: MakeContext, content: bytes, error: type[PermanentError]
) -> None:
    file_id = upload(services, content)

    with pytest.raises(error):
        optimize_image(order(file_id), make_context())

    row = file_row(services, file_id)
    assert (row.status, row.variants) == ("rejected", []) and (row.error or "").startswith(error.__name__)


def test_content_decides_and_not_the_name(services: Services, make_context: MakeContext) -> None:
    file_id = upload(services, PHOTOS["coffee.png"].read_bytes(), name="holiday.jpg")

    optimize_image(order(file_id, formats=("jpeg",)), make_context())

    assert file_row(services, file_id).media_type == "image/png"


def test_a_file_without_a_row_and_a_missing_original(services: Services, make_context: MakeContext) -> None:
    with pytest.raises(UnknownFile):
        optimize_image(order(4711), make_context())

    missing = upload(services, b"", stored="originals/none.jpg")
    with pytest.raises(StorageFailed):
        optimize_image(order(missing), make_context())
    assert file_row(services, missing).status == "optimizing"


@pytest.mark.parametrize("stored", ["../../etc/passwd", "/etc/passwd", "originals/../../secret.jpg", "link/secret.jpg"])
def test_a_path_that_leads_outside_is_refused(
    services: Services, make_context: MakeContext, tmp_path: Path, stored: str
) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "link").symlink_to(tmp_path)
    file_id = upload(services, b"", stored=stored)

    with pytest.raises(UnsafePath):
        optimize_image(order(file_id), make_context())

    assert file_row(services, file_id).status == "rejected"


@pytest.mark.each_database
def test_a_later_good_run_clears_the_error(services: Services, make_context: MakeContext) -> None:
    file_id = upload(services, b"not yet an image", stored="originals/late.jpg", write=True)
    with pytest.raises(NotAnImage):
        optimize_image(order(file_id), make_context())

    services.media.path("originals/late.jpg").write_bytes(JPEG)
    ctx = make_context()
    optimize_image(order(file_id, formats=("webp",)), ctx)

    row = file_row(services, file_id)
    assert (row.status, row.error, row.job_id) == ("optimized", None, ctx.job_id)
    assert (row.byte_count, row.sha256) == (len(JPEG), hashlib.sha256(JPEG).hexdigest())


@pytest.mark.parametrize("kind", ["folder", "pipe", "file as a folder", "long name", "loop"])
def test_a_path_to_what_is_no_file_is_refused_for_good(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "media"
    (root / "folder").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    (root / "file").write_bytes(b"x")
    (root / "loop").symlink_to(root / "loop")
    stored = {"file as a folder": "file/x.jpg", "long name": "x" * 300}.get(kind, kind)
    with pytest.raises(UnsafePath, match="storage_path"):
        MediaStore(root).read(stored, limit_bytes=10)


def test_a_path_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePath):
        MediaStore(tmp_path).read("originals/a\0.jpg", limit_bytes=10)


def test_no_more_is_read_than_is_needed_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1_000)

    assert len(MediaStore(tmp_path).read("big", limit_bytes=100)) == 101


@pytest.mark.parametrize(
    ("number", "is_away"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, True), (errno.EIO, False), (errno.EACCES, False)],
)
def test_a_write_that_fails_is_tried_again_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_away: bool
) -> None:
    """A disk that takes nothing more is waited for, as SQL and Redis are: it uses up no attempt."""

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    store = MediaStore(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(StorageFailed, match=os.strerror(number)) as caught:
        patched.setattr(os, "fsync", refuse)
        store.put(JPEG, folder="variants", suffix="jpeg")
    assert isinstance(caught.value, Away) == is_away

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.path(store.put(JPEG, folder="variants", suffix="jpeg")).read_bytes() == JPEG


@pytest.mark.each_database
def test_a_job_whose_storage_fails_says_so_on_the_row_and_may_still_succeed(
    services: Services, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(services, PHOTOS["chelsea.png"].read_bytes())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(StorageFailed):
        patched.setattr(os, "fsync", full)
        optimize_image(order(file_id), make_context("job-1"))
    failed = file_row(services, file_id)
    assert failed.status == "optimizing" and "MediaDiskFull" in (failed.error or "") and failed.job_id == "job-1"

    optimize_image(order(file_id), make_context("job-1"))
    assert (file_row(services, file_id).status, file_row(services, file_id).error) == ("optimized", None)


@pytest.mark.parametrize(("is_last", "status"), [(False, "optimizing"), (True, "failed")])
def test_a_job_that_ran_out_of_time_says_so_on_the_row(
    services: Services, make_context: MakeContext, is_last: bool, status: str
) -> None:
    file_id = upload(services, PHOTOS["chelsea.png"].read_bytes())

    def interrupt(fraction: float, note: str) -> None:
        assert file_row(services, file_id).status == "optimizing"
        raise TimeLimitExceeded("600 s")

    with pytest.raises(TimeLimitExceeded):
        optimize_image(order(file_id), make_context(report_progress=interrupt, is_last_try=lambda error: is_last))

    assert (file_row(services, file_id).status, file_row(services, file_id).error) == (
        status,
        "TimeLimitExceeded: 600 s",
    )


def test_what_is_optimized_stays_so_while_other_widths_are_made_and_when_that_fails(
    services: Services, make_context: MakeContext
) -> None:
    file_id = upload(services, PHOTOS["chelsea.png"].read_bytes())
    optimize_image(order(file_id), make_context())

    def interrupt(fraction: float, note: str) -> None:
        raise TimeLimitExceeded("600 s")

    with pytest.raises(TimeLimitExceeded):
        optimize_image(order(file_id), make_context(report_progress=interrupt, is_last_try=lambda error: True))

    assert file_row(services, file_id).status == "optimized"


@pytest.mark.each_database
def test_the_samples_that_are_no_whole_photographs_are_rejected(services: Services, make_context: MakeContext) -> None:
    file_ids = sample_content.load_damaged(services.database, services.settings.media_root)
    for file_id, error in zip(file_ids, (ImageDamaged, NotAnImage), strict=True):
        with pytest.raises(error):
            optimize_image(order(file_id), make_context())
    assert {file_row(services, file_id).status for file_id in file_ids} == {"rejected"}
    assert sample_content.find_damaged(services.database) == file_ids


def test_only_old_drafts_are_stale(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    assert store.stale_drafts() == []
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    for name, age_seconds in (("old", 7_200), ("young", 60)):
        (drafts / name).write_bytes(b"half")
        os.utime(drafts / name, (time.time() - age_seconds,) * 2)

    assert store.stale_drafts() == [drafts / "old"]
    assert store.remove_stale_drafts() == 1
    assert [path.name for path in drafts.iterdir()] == ["young"]


def test_a_store_killed_while_writing_leaves_no_half_file_under_a_final_name(tmp_path: Path) -> None:
    kill_after_lines(
        9,
        "import os, pathlib, sys\n"
        "from workers.services.media import MediaStore\n"
        "store = MediaStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    store.put(os.urandom(400_000), folder='variants', suffix='webp')\n"
        "    print(n, flush=True)\n",
        str(tmp_path),
    )

    finished = [path for path in (tmp_path / "variants").rglob("*") if path.is_file()]
    assert len(finished) >= 9
    for path in finished:
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    store = MediaStore(tmp_path)
    left_behind = store.stale_drafts(older_than_seconds=-1)
    assert len(left_behind) <= 1
    assert store.remove_stale_drafts(older_than_seconds=-1) == len(left_behind)
    assert not list((tmp_path / "drafts").iterdir())


JOB = """
import pathlib, signal, sys, structlog
from teknav_ops.engine.processor import JobContext
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.settings import Settings
from workers.media_optimize import optimize_image
from workers.services import open_services
url, media, file_id = sys.argv[1:]
def report_and_wait(fraction, note):
    print(fraction, flush=True)
    if fraction > 0.3:
        signal.pause()
services = open_services(Settings(data_dir=pathlib.Path(media).parent, media_dir=media, database_url=url))
ctx = JobContext(job_id="killed", queue="media:optimize", name="optimize-image", attempt=1, delivery=1, trace_id="",
                 services=services, log=structlog.get_logger(), report_progress=report_and_wait)
optimize_image(OptimizeImage(file_id=int(file_id), widths=(64, 160, 240, 320)), ctx)
"""


@pytest.mark.each_database
def test_a_job_killed_in_the_middle_is_finished_by_its_second_run(
    services: Services, make_context: MakeContext, database_url: str, tmp_path: Path
) -> None:
    file_id = upload(services, PHOTOS["hubble_deep_field.jpg"].read_bytes())
    kill_after_lines(4, JOB, database_url, str(tmp_path / "media"), str(file_id))
    half_way = variant_files(tmp_path)
    assert len(half_way) == 4 and file_row(services, file_id).status == "optimizing"
    assert SqlEffects(services.database).find("killed") is None

    optimize_image(order(file_id, widths=(64, 160, 240, 320)), make_context("killed"))

    whole = variant_files(tmp_path)
    assert len(whole) == 12 and half_way.items() <= whole.items()
    assert SqlEffects(services.database).find("killed") is not None


def kill_after_lines(count: int, program: str, *arguments: str) -> None:
    process = warm_python.Process(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None and all(process.stdout.readline() for _ in range(count))
    process.kill()
    process.wait()
    process.stdout.close()
