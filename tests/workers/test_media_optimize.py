"""media:optimize: real photographs, and everything that is not one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pyvips

from teknav_ops import sample_content
from teknav_ops.errors import PermanentError
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import File
from tests.workers.conftest import MakeContext
from workers.media_optimize import UnknownFile, optimize_image
from workers.services import Services
from workers.services.images import ImageDamaged, ImageTooLarge, NotAnImage, inspect, renditions
from workers.services.media import StorageFailed, UnsafePath

PHOTOS = {path.name: path for path in sample_content.photo_paths()}


def upload(services: Services, content: bytes, name: str = "photo.jpg", stored: str | None = None) -> int:
    path = stored or services.media.put(content, folder="originals", suffix=name.rpartition(".")[2])
    with services.database.session() as session:
        file = File(storage_path=path, original_name=name, variants=[])
        session.add(file)
        session.flush()
        return file.id


def file_row(services: Services, file_id: int) -> File:
    with services.database.session() as session:
        return session.get_one(File, file_id)


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
    assert progress[-1] == 1.0
    assert SqlEffects(services.database).find(ctx.job_id) == summary


def test_running_twice_writes_the_same_files(services: Services, make_context: MakeContext, tmp_path: Path) -> None:
    file_id = upload(services, PHOTOS["flower.jpg"].read_bytes())
    ctx = make_context()
    optimize_image(order(file_id), ctx)
    before = {path: path.read_bytes() for path in (tmp_path / "media" / "variants").rglob("*.*")}

    optimize_image(order(file_id), ctx)

    assert {path: path.read_bytes() for path in (tmp_path / "media" / "variants").rglob("*.*")} == before


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
    ],
    ids=["empty", "text", "svg", "pdf", "truncated"],
)
def test_what_is_no_whole_image_is_rejected_for_good(
    services: Services, make_context: MakeContext, content: bytes, error: type[PermanentError]
) -> None:
    file_id = upload(services, content)

    with pytest.raises(error):
        optimize_image(order(file_id), make_context())

    row = file_row(services, file_id)
    assert row.status == "rejected" and (row.error or "").startswith(error.__name__)


def test_a_pixel_bomb_is_refused_by_its_header() -> None:
    bomb = bytes(pyvips.Image.black(20_000, 5_000).pngsave_buffer(compression=9))
    assert len(bomb) < 500_000

    with pytest.raises(ImageTooLarge, match="20000 x 5000"):
        inspect(bomb)


def test_content_decides_and_not_the_name(services: Services, make_context: MakeContext) -> None:
    file_id = upload(services, PHOTOS["coffee.png"].read_bytes(), name="holiday.jpg")

    optimize_image(order(file_id, formats=("jpeg",)), make_context())

    assert file_row(services, file_id).media_type == "image/png"


def corner_image(orientation: int) -> bytes:
    """A red corner at the upper left once the orientation is applied."""
    upright = pyvips.Image.black(40, 20, bands=3).draw_rect([255, 0, 0], 0, 0, 12, 8, fill=True)
    undo = {
        1: lambda i: i,
        2: lambda i: i.fliphor(),
        3: lambda i: i.rot180(),
        4: lambda i: i.flipver(),
        5: lambda i: i.rot90().fliphor(),
        6: lambda i: i.rot270(),
        7: lambda i: i.rot270().fliphor(),
        8: lambda i: i.rot90(),
    }
    image = undo[orientation](upright).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitude", "35/1 41/1 0/1")
    return bytes(image.jpegsave_buffer(Q=95))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_and_no_metadata_leaves(orientation: int) -> None:
    content = corner_image(orientation)
    facts = inspect(content)

    (made,) = renditions(content, facts, (40,), ("jpeg",))

    image = pyvips.Image.new_from_buffer(made.content, "")
    assert (facts.width, facts.height) == (image.width, image.height) == (40, 20)
    assert image.getpoint(4, 3)[0] > 200 and image.getpoint(35, 16)[0] < 60
    assert not [name for name in image.get_fields() if "exif" in name or "gps" in name.lower() or "icc" in name]


def test_cmyk_sixteen_bits_and_animations_become_plain_srgb() -> None:
    base = pyvips.Image.new_from_file(str(PHOTOS["flower.jpg"])).thumbnail_image(80)
    sources = {
        "cmyk": base.colourspace("cmyk").jpegsave_buffer(),
        "sixteen bits": base.colourspace("rgb16").pngsave_buffer(),
        "grey": base.colourspace("b-w").pngsave_buffer(),
    }
    frames = base.join(base.invert(), "vertical").copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", base.height)
    sources["animation"] = frames.webpsave_buffer()
    sources["gif"] = base.gifsave_buffer()

    for name, content in sources.items():
        facts = inspect(bytes(content))
        for made in renditions(bytes(content), facts, (40,), ("avif", "webp", "jpeg")):
            image = pyvips.Image.new_from_buffer(made.content, "")
            assert (image.format, image.width) == ("uchar", 40), name
            assert image.height == pytest.approx(40 * base.height / base.width, abs=1), name


def test_a_file_without_a_row_a_missing_original_and_an_unsafe_path(
    services: Services, make_context: MakeContext
) -> None:
    with pytest.raises(UnknownFile):
        optimize_image(order(4711), make_context())
    missing = upload(services, b"", stored="originals/none.jpg")
    with pytest.raises(StorageFailed):
        optimize_image(order(missing), make_context())
    unsafe = upload(services, b"", stored="../../etc/passwd")
    with pytest.raises(UnsafePath):
        optimize_image(order(unsafe), make_context())


def test_killed_in_the_middle_leaves_no_half_file_under_a_final_name(tmp_path: Path) -> None:
    program = (
        "import sys, os, pathlib\n"
        "from workers.services.media import MediaStore\n"
        "store = MediaStore(pathlib.Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "for n in range(10_000): store.put(os.urandom(200_000), folder='variants', suffix='webp')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(0.4)
    process.kill()
    process.wait()
    process.stdout.close()

    finished = list((tmp_path / "variants").rglob("[!.]*.webp"))
    assert finished
    assert {path.stat().st_size for path in finished} == {200_000}
