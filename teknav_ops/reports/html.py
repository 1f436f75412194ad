"""From an executed notebook to a page: no code, nothing from elsewhere, charts from one shared plotly.js."""

from __future__ import annotations

import logging
import re
from html import escape
from pathlib import Path
from typing import Any, Final

from teknav_ops.durable_files import write_whole
from teknav_ops.reports.chart_text import chart_label, chart_table
from teknav_ops.reports.limits import NUMBER_TYPE
from teknav_ops.reports.page import hash_of, page
from teknav_ops.reports.runs import Number, RunMeta
from teknav_ops.reports.store import ASSETS

_PLOTLY: Final = "application/vnd.plotly.v1+json"
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"
#: Cells that are for a person at the notebook, or whose content the page says better itself.
_LEFT_OUT: Final = frozenset(
    {"interactive", "hide", "limits", "parameters", "injected-parameters", "papermill-error-cell-tag"}
)
_SCRIPTS: Final = re.compile(r"<script\b.*?</script\s*>|<script\b[^>]*>", re.I | re.S)
_FETCHERS: Final = re.compile(r"</?(?:link|iframe|frame|object|embed|base|meta|form|audio|video|portal)\b[^>]*>", re.I)
_FETCHED: Final = re.compile(
    r"<(?:img|source|image|use|input|track)\b[^>]*?\b(?:src|srcset|href|xlink:href)\s*=\s*+[\"']?+\s*+(?!data:|#)[^>]*>",
    re.I,
)
_STYLES: Final = re.compile(r"<style\b.*?</style\s*>", re.I | re.S)
_IN_STYLE: Final = re.compile(r"@import[^;}]*;?|url\(\s*+[\"']?+\s*+(?!data:|#)[^)]*\)", re.I)
_HANDLERS: Final = re.compile(r"(?<=[\s\"'/])on[a-z]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+)", re.I)
_TAGS: Final = re.compile(r"<[a-z][^>]*\son[a-z]+\s*=[^>]*>", re.I)
_HEADINGS: Final = re.compile(r"<thead\b.*?</thead\s*>|<tr\b.*?(?=<tr\b|</tr\b|</table\b|\Z)", re.I | re.S)
_HEADING: Final = re.compile(r"<th(?=[\s>])(?![^>]*\bscope=)", re.I)
_BLOCKS: Final = re.compile(r"<(p|li|td|th|h[1-6]|blockquote|pre)(?=[\s>])(?![^>]*\bdir=)", re.I)


def numbers_in(notebook: Any) -> tuple[Number, ...]:
    """What the notebook noted, in order; of two of one name, the later."""
    found = [
        Number.model_validate(output["data"][NUMBER_TYPE])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if NUMBER_TYPE in output.get("data", {})
    ]
    return tuple({number.name: number for number in found}.values())


def render(notebook: Any, meta: RunMeta, root: Path) -> str:
    """The page of a run below `root`, whose `assets` get this plotly.js if they have not got it.

    Changes the notebook.
    """
    figures: list[dict[str, Any]] = []
    notebook.cells = [cell for cell in notebook.cells if _is_shown(cell)]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _plain(output, figures)
    _drop_heading(notebook)
    return page(meta, _cleaned(_export(notebook)), figures, put_asset(root) if figures else None)


def put_asset(root: Path) -> tuple[str, str]:
    """The shared plotly.js: its file's name and hash. Where there is no room for it, charts are tables."""
    from plotly import __version__
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs().replace("</script", "<\\/script")
    name = f"plotly-{__version__}.min.js"
    path = root / ASSETS / name
    try:
        if not path.is_file() or path.stat().st_size != len(script.encode()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, script)
    except OSError as error:
        logging.warning("charts cannot be drawn yet: %s: %s", path, error.strerror)
    return name, hash_of(script)


def _is_shown(cell: Any) -> bool:
    if set(cell.metadata.get("tags", ())) & _LEFT_OUT:
        return False
    return bool(cell.source.strip() if cell.cell_type == "markdown" else cell.get("outputs"))


def _plain(output: Any, figures: list[dict[str, Any]]) -> None:
    """Charts become a place to draw in, beside their data; widgets and scripts become nothing."""
    data = output.get("data")
    if data is None:
        return
    if _PLOTLY in data:
        figure = data[_PLOTLY]
        kept = {"data": figure.get("data", []), "layout": figure.get("layout", {})}
        data.clear()
        label = escape(chart_label(kept), quote=True)
        place = f'<div class="figure" role="img" aria-label="{label}" data-figure="figure-{len(figures)}"></div>'
        data["text/html"] = place + chart_table(kept)
        figures.append(kept)
    elif _WIDGET in data:
        data.clear()
    for kind in ("application/javascript", "application/vnd.jupyter.widget-state+json"):
        data.pop(kind, None)


def _drop_heading(notebook: Any) -> None:
    """The page has the title already."""
    first = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    if first is not None and first.source.startswith("# "):
        first.source = first.source.partition("\n")[2].strip()


def _export(notebook: Any) -> str:
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(template_name="basic")  # type: ignore[no-untyped-call]
    exporter.exclude_input = exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.exclude_anchor_links = True
    for url in ("mathjax_url", "require_js_url", "jquery_url", "widget_renderer_url", "mermaid_js_url"):
        setattr(exporter, url, "")
    body: str = exporter.from_notebook_node(notebook)[0]
    return body


def _cleaned(body: str) -> str:
    """Without scripts and without anything that would be fetched; each block in the direction of its words."""
    for unwanted in (_SCRIPTS, _FETCHERS, _FETCHED):
        body = unwanted.sub("", body)
    body = _TAGS.sub(lambda tag: _HANDLERS.sub("", tag[0]), body)
    body = _STYLES.sub(lambda style: _IN_STYLE.sub("none", style[0]), body)
    body = _BLOCKS.sub(lambda block: f'{block[0]} dir="auto"', body)
    return _HEADINGS.sub(_with_scope, body)


def _with_scope(found: re.Match[str]) -> str:
    """A table's head, or a row of headings alone, names its columns; headings beside values name their rows."""
    text = found[0].lower()
    scope = "col" if text.startswith("<thead") or "<td" not in text else "row"
    return _HEADING.sub(rf'<th scope="{scope}"', found[0])
