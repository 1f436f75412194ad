"""Published runs: read whole, kept as long as the settings say, never found outside their folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from teknav_ops.reports.catalogue import UnknownReport
from teknav_ops.reports.index import index_page
from teknav_ops.reports.runs import Number, RunMeta, new_run
from teknav_ops.reports.store import ReportStore


def publish(root: Path, name: str, *, days_ago: float = 0.0, error: str = "") -> RunMeta:
    """A run as the runner leaves it."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    meta = RunMeta(
        name=name, run=new_run(at), title=f"What of {name}? <b>", status="failed" if error else "ok", who="sara",
        started_at=at, ended_at=at, error=error, numbers=(Number(name="مقاله‌ها", value=3, unit="jobs"),),
    )  # fmt: skip
    folder = root / name / meta.run
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(meta.model_dump_json())
    (folder / "report.html").write_text("<p>page</p>")
    return meta


def test_runs_are_read_newest_first(tmp_path: Path) -> None:
    old, new = publish(tmp_path, "health", days_ago=1), publish(tmp_path, "health")
    other = publish(tmp_path, "slo", days_ago=9)
    store = ReportStore(tmp_path)

    assert store.names() == ["health", "slo"]
    assert store.history("health") == [new, old]
    assert store.history("health", limit=1) == store.newest()[:1] == [new]
    assert store.newest() == [new, other]
    assert store.get("health", old.run) == old and store.get("slo") == other
    with pytest.raises(UnknownReport, match="has not been run yet"):
        store.get("costs")


def test_a_page_of_runs_reads_only_its_own_and_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    runs = [publish(tmp_path, "health", days_ago=age) for age in range(5)]
    (tmp_path / "health" / runs[1].run / "meta.json").write_text("{")
    store = ReportStore(tmp_path)

    assert store.page("health", before=None, limit=2) == ([runs[0]], 5, runs[1].run)
    assert store.page("health", before=runs[1].run, limit=2) == (runs[2:4], 5, runs[3].run)
    assert store.page("health", before=runs[3].run, limit=2) == ([runs[4]], 5, None)
    assert store.history("health", limit=2) == [runs[0], runs[2]]


def test_retention_keeps_the_newest_whatever_its_age(tmp_path: Path) -> None:
    ages = (500, 401, 399, 2, 1)
    runs = [publish(tmp_path, "health", days_ago=age).run for age in ages]
    store = ReportStore(tmp_path)

    assert store.retain("health", keep_count=30, keep_days=400) == 2
    assert store.runs("health") == runs[:1:-1]
    assert store.retain("health", keep_count=2, keep_days=400) == 1
    assert store.runs("health") == runs[:2:-1]

    publish(tmp_path, "old", days_ago=900)
    assert store.retain("old", keep_count=1, keep_days=1) == 0
    assert not list((tmp_path / ".run").iterdir())


@pytest.mark.parametrize(
    ("name", "run", "file"),
    [
        ("..", "20261125T043001Z-3f9a1c", "meta.json"), ("health", "..", "meta.json"), ("assets", "x", "meta.json"),
        ("health", "{run}", "../../secret"), ("health", "{run}", "order.json"), ("health", "{run}", ".lock"),
        ("health", "20990101T000000Z-000000", "meta.json"), (".run", "{run}", "meta.json"), ("health", "", "meta.json"),
    ],
)  # fmt: skip
def test_nothing_but_a_runs_files_can_be_asked_for(tmp_path: Path, name: str, run: str, file: str) -> None:
    meta = publish(tmp_path / "reports", "health")
    (tmp_path / "secret").write_text("no")
    with pytest.raises(UnknownReport):
        ReportStore(tmp_path / "reports").file(name, run.format(run=meta.run), file)


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    good = publish(tmp_path, "health", days_ago=1)
    bad = publish(tmp_path, "health")
    (tmp_path / "health" / bad.run / "meta.json").write_text('{"name": ')
    store = ReportStore(tmp_path)

    assert store.history("health") == store.newest() == [good]
    with pytest.raises(UnknownReport, match="cannot be read"):
        store.get("health", bad.run)


def test_a_run_that_was_removed_is_not_brought_back(tmp_path: Path) -> None:
    meta = publish(tmp_path, "health")
    store = ReportStore(tmp_path)
    (tmp_path / "health" / meta.run / "meta.json").unlink()
    (tmp_path / "health" / meta.run / "report.html").unlink()
    (tmp_path / "health" / meta.run).rmdir()

    store.rewrite(meta.model_copy(update={"error": "late"}))

    assert store.runs("health") == []


def test_the_index_shows_words_as_words_and_says_what_to_do_when_empty(tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    assert "teknav report run queue_health" in index_page(store)

    publish(tmp_path, "health", error="<script>alert(1)</script>")
    publish(tmp_path, "slo")
    page = index_page(store)

    assert "<script" not in page and "&lt;script&gt;" in page and "What of slo? &lt;b&gt;" in page
    assert "مقاله‌ها: 3 jobs" in page
