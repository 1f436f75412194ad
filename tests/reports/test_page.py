"""The published page in a real browser, from the folder, with no network at all."""

from __future__ import annotations

import base64
import errno
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, expect

from teknav_ops.reports import html
from teknav_ops.reports.chart_text import chart_label, chart_table
from teknav_ops.reports.desk import ReportDesk
from teknav_ops.reports.html import render
from teknav_ops.reports.masking import mask_outputs
from teknav_ops.reports.page import inlined
from teknav_ops.reports.runs import RunMeta
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.workbench.tables import Table
from tests.reports.test_store import publish
from tests.support.browser import Visitor, chromium
from tests.support.databases import migrate

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, notebooks: Path) -> tuple[Path, RunMeta]:
    """A folder with a run whose limit is breached, and whose cells put out what they should not."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("published"), notebooks_dir=notebooks)
    migrate(settings.sql_url)
    sql = Database.open(settings.sql_url)
    desk = ReportDesk(settings, sql)
    meta = desk.run("charts", {"dead_letters": 12}, who="sara")
    sql.dispose()
    return desk.store.root, meta


def visit(browser: Browser, path: Path, **options: object) -> tuple[Visitor, Page]:
    visitor = Visitor(browser, "", **options)
    visitor.context.set_offline(True)
    visitor.page.goto(path.as_uri())
    return visitor, visitor.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_draws_its_charts_and_runs_nothing_of_the_notebooks(
    browser: Browser, published: tuple[Path, RunMeta], scheme: str
) -> None:
    root, meta = published
    visitor, page = visit(browser, root / "charts" / meta.run / "report.html", color_scheme=scheme)

    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    expect(page.get_by_role("alert")).to_contain_text("dead letters: 12 is more than 10")
    expect(page.locator(".numbers .breached")).to_contain_text("at most 10")
    # Bars that can be pointed at.
    page.locator(".js-plotly-plot").first.locator(".point").first.hover(force=True)
    expect(page.locator(".js-plotly-plot").first.locator(".hoverlayer .hovertext")).to_be_visible()
    assert "broken" not in page.title() and page.title().startswith("How many jobs of each kind?")
    assert page.locator("#kept").get_attribute("onclick") is None and page.locator("form, iframe").count() == 0
    # Persian runs right to left, code stays with the notebook.
    assert page.get_by_text("صف سرریز").evaluate("cell => getComputedStyle(cell).direction") == "rtl"
    first = page.locator("main p[dir=auto]", has_text="گزارش").first
    assert first.evaluate("words => getComputedStyle(words).direction") == "rtl"
    assert page.get_by_text("figure.update_layout").count() == 0
    assert visitor.troubles == [f"other host: {url}" for url in _files(visitor)]
    visitor.close()


def _files(visitor: Visitor) -> list[str]:
    """Files are no network; a visitor lists them since they have no host."""
    seen = [trouble.removeprefix("other host: ") for trouble in visitor.troubles if trouble.startswith("other host: ")]
    return [url for url in seen if url.startswith("file://")]


def test_the_index_leads_to_the_page_and_back(browser: Browser, published: tuple[Path, RunMeta]) -> None:
    root, meta = published
    visitor, page = visit(browser, root / "index.html")

    page.get_by_role("link", name=f"{meta.started_at:%Y-%m-%d %H:%M}").click()
    expect(page.locator("h1")).to_have_text("How many jobs of each kind?")
    page.get_by_role("link", name="Reports").click()
    expect(page.locator("h1")).to_have_text("Reports")
    assert [trouble for trouble in visitor.troubles if "file://" not in trouble] == []
    visitor.close()


def test_a_page_fits_a_phone(browser: Browser, published: tuple[Path, RunMeta]) -> None:
    root, meta = published
    visitor, page = visit(browser, root / "charts" / meta.run / "report.html", viewport={"width": 390, "height": 844})
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visitor.close()


def test_a_run_is_small_and_all_share_one_script(published: tuple[Path, RunMeta]) -> None:
    root, meta = published
    folder = root / "charts" / meta.run
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    (script,) = (root / "assets").iterdir()
    assert script.name.startswith("plotly-") and script.stat().st_size > 1_000_000
    assert f"../../assets/{script.name}" in (folder / "report.html").read_text()


def test_a_line_that_the_kernel_sent_in_pieces_is_one_line(tmp_path: Path) -> None:
    pieces = [new_output("stream", name="stdout", text=text) for text in ("three ", "jobs\n")]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=pieces)]))
    mask_outputs(notebook)

    assert "three jobs" in render(notebook, publish(tmp_path, "health"), tmp_path)


def test_paper_holds_wide_tables_whole_and_tables_and_charts_have_words(
    browser: Browser, published: tuple[Path, RunMeta]
) -> None:
    root, meta = published
    names = [f"column_{number}_of_many" for number in range(16)]
    wide = Table(pd.DataFrame([["a value that is long"] * 16] * 3, columns=names))
    frame = pd.DataFrame({"n": [1, 2]}, index=["one", "two"])
    figure = {"data": [{"name": "dead", "x": ["2026-01-01", "2026-01-02"], "y": [3, 12], "type": "bar"}],
              "layout": {"title": {"text": "Dead letters"}}}  # fmt: skip
    parts = [{"text/html": table} for table in (wide._repr_html_(), frame.to_html())]
    parts.append({"application/vnd.plotly.v1+json": figure})
    outputs = [new_output("display_data", data=data) for data in parts]  # type: ignore[no-untyped-call]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=outputs)]))  # type: ignore[no-untyped-call]
    path = root / "wide" / "run" / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(notebook, meta, root))

    visitor, page = visit(browser, path, viewport={"width": 700, "height": 900})
    page.emulate_media(media="print")
    rights = page.locator("th, td").evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().right)")
    assert max(rights) <= 700 and page.evaluate("document.documentElement.scrollWidth <= 700")

    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("tbody th").first.get_attribute("scope") == "row"
    label = "Dead letters. dead, 2 values, from 2026-01-01 00:00 to 2026-01-02 00:00: between 3 and 12"
    expect(page.get_by_role("img", name=label)).to_have_count(1)
    page.emulate_media(media="screen")
    page.get_by_text("Values of the chart").click()
    expect(page.get_by_role("row", name="2026-01-02 00:00 12")).to_be_visible()
    visitor.close()


def test_values_that_plotly_packs_are_words_too() -> None:
    packed = {"dtype": "f8", "bdata": base64.b64encode(struct.pack("<2d", 1.5, 2_000_000.0)).decode()}
    figure = {"data": [{"x": ["a<b>", "b"], "y": packed}, {"x": [], "y": []}], "layout": {}}
    assert chart_label(figure) == (
        "Chart. series 1, 2 values, from a<b> to b: between 1.5 and 2,000,000. series 2, 0 values"
    )
    assert "a&lt;b&gt;" in chart_table(figure) and chart_table({"data": [{"type": "indicator"}]}) == ""


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (
            go.Heatmap(z=[[1, 2], [3, 4]], x=["م", "ن"], y=["a", "b"]),
            "series 1, a, 2 values, from م to ن: between 1 and 2. series 1, b, 2 values, from م to ن: between 3 and 4",
        ),
        (
            go.Heatmap(z=np.arange(4.0).reshape(2, 2)),
            "series 1, 0, 2 values, from 0 to 1: between 0 and 1. series 1, 1, 2 values, from 0 to 1: between 2 and 3",
        ),
        (go.Histogram(x=[5, 7, 6], name="ms"), "ms, 3 values, from 0 to 2: between 5 and 7"),
        (go.Box(y=np.array([5.0, 7.0])), "series 1, 2 values, from 0 to 1: between 5 and 7"),
        (go.Bar(x=[5], y=["q"], orientation="h"), "series 1, 1 value, from q to q: between 5 and 5"),
        (
            go.Table(header={"values": ["job", "ms"]}, cells={"values": [["a", "b"], [1, 2]]}),
            "job, 2 values, from 1 to 2. ms, 2 values, from 1 to 2: between 1 and 2",
        ),
    ],
)
def test_each_kind_of_chart_is_told_by_its_values(trace: Any, words: str) -> None:
    figure = json.loads(go.Figure(trace).to_json())
    assert chart_label(figure) == f"Chart. {words}" and "<caption" in chart_table(figure)


def test_headings_of_a_table_without_a_head_have_a_scope(published: tuple[Path, RunMeta]) -> None:
    root, meta = published
    html = "<table><tr><th>a<th>b</tr><TR><th>x</th><td>1</td></TR></table>"
    output = new_output("display_data", data={"text/html": html})  # type: ignore[no-untyped-call]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=[output])]))  # type: ignore[no-untyped-call]

    page = render(notebook, meta, root)

    assert page.count('<th scope="col" dir="auto">') == 2 and '<th scope="row" dir="auto">x' in page


def test_pictures_that_a_cell_puts_out_are_on_the_page(published: tuple[Path, RunMeta]) -> None:
    root, meta = published
    html = """<img src='data:image/gif;base64,R0'><style>p{background:url("data:image/png,A")}</style>"""
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>'
    kinds = {"image/png": "iVBO", "image/svg+xml": "<svg></svg>", "text/html": html + svg}
    outputs = [new_output("display_data", data={kind: shown}) for kind, shown in kinds.items()]  # type: ignore[no-untyped-call]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=outputs)]))  # type: ignore[no-untyped-call]

    page = render(notebook, meta, root).replace("'", '"')

    for picture in ("image/png;base64,iVBO", "image/svg+xml;base64,", "image/gif;base64,R0", "image/png,A"):
        assert f'"data:{picture}' in page
    assert 'href="#a"' in page


def test_a_page_is_whole_though_there_is_no_room_for_what_draws_its_charts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    chart = json.loads(go.Figure(go.Bar(x=["a"], y=[3])).to_json())
    outputs = [
        new_output("display_data", data={"application/vnd.plotly.v1+json": chart}),  # type: ignore[no-untyped-call]
        new_output("display_data", data={"text/html": "<p>three jobs</p>"}),  # type: ignore[no-untyped-call]
    ]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=outputs)]))  # type: ignore[no-untyped-call]
    with monkeypatch.context() as patched:
        patched.setattr(html, "write_whole", full)
        page = render(notebook, publish(tmp_path, "health"), tmp_path)

    # The next report puts it there, and then this one's charts are drawn, too.
    assert "three jobs" in page and "Chart. " in page and '<script src="../../assets/plotly-' in page
    assert inlined(page, tmp_path / "assets") == page


HOSTILE = (
    "<script>steal()</script>", "<SCRIPT src=//e.example/x></SCRIPT>", "<img src=//e.example/x>",
    "<img src='x' onerror=alert(1)>", "<svg/onload=alert(1)>", "<a href=x onclick = 'alert(1)'>a</a>",
    "<iframe src=//e.example></iframe>", "<style>@import url(//e.example/x);</style>",
    "<link rel=stylesheet href=//e.example/x>", "<base href=//e.example>", "<meta http-equiv=refresh content='0;//e'>",
    "<video poster=//e.example/x src=//e.example/y></video>", "<object data=//e.example></object>",
)  # fmt: skip


@pytest.mark.parametrize("html", HOSTILE)
def test_what_a_cell_puts_out_can_neither_run_nor_fetch(
    browser: Browser, published: tuple[Path, RunMeta], html: str
) -> None:
    root, meta = published
    output = new_output("display_data", data={"text/html": f"<p id=words>words</p>{html}"})  # type: ignore[no-untyped-call]
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(outputs=[output])]))  # type: ignore[no-untyped-call]
    path = root / "hostile" / "run" / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(notebook, meta, root))
    alerts: list[str] = []

    visitor = Visitor(browser, "")
    visitor.page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    visitor.page.goto(path.as_uri())

    expect(visitor.page.locator("#words")).to_have_text("words")
    assert alerts == []
    assert [trouble for trouble in visitor.troubles if "file://" not in trouble] == []
    visitor.close()
