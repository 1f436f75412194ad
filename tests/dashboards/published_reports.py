"""Reports as their processes publish them, without running a notebook: what pages show of them is the same."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import plotly.graph_objects as go
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from teknav_ops.reports.child import write_page
from teknav_ops.reports.runs import Number, RunMeta, new_run
from teknav_ops.reports.store import LOG, META, ReportStore
from teknav_ops.reports.workroom import EXECUTED, TEMPORARY

_NUMBERS = (Number(name="dead letters", value=12, unit="jobs", at_most=10, is_breached=True),)
_REACHES_OUT = (
    "<p id=words>words</p><script>fetch('/api/v1/queues'); document.title = 'owned'</script>"
    "<form id=out method=post action=/sign-out><button>Sign out</button></form>"
)


def publish_reports(root: Path) -> dict[str, RunMeta]:
    """A good run, a later one that breached its limit, and one that failed for a reason that quotes an address."""
    now = datetime.now(UTC)
    chart = go.Figure(go.Bar(x=["a", "b"], y=[3, 1])).to_plotly_json()
    charts = {"application/vnd.plotly.v1+json": {"data": chart["data"], "layout": {}}, "text/plain": "Figure"}
    title = "How many jobs of each kind?"
    good = _meta("charts", title, now - timedelta(minutes=1), status="ok", who="scheduler", schedule="daily-charts")
    breached = _meta("charts", title, now, status="limit", who="علی", numbers=_NUMBERS).model_copy(
        update={"error": "dead letters: 12 is more than 10"}
    )
    evil = _meta(
        "evil", "What <img src=x onerror=alert(1)> reaches out?", now, status="failed", who="owner"
    ).model_copy(update={"error": "RuntimeError: could not mail sara@example.com"})
    _publish(root, good, charts)
    _publish(root, breached, charts)
    _publish(root, evil, {"text/html": _REACHES_OUT, "text/plain": "HTML"})
    return {"good": good, "limit": breached, "evil": evil}


def _meta(name: str, title: str, at: datetime, **facts: object) -> RunMeta:
    values = {"name": name, "run": new_run(at), "title": title, "started_at": at, "ended_at": at, "seconds": 1.0}
    return RunMeta.model_validate(values | facts)


def _publish(root: Path, meta: RunMeta, output: dict[str, object]) -> None:
    folder = ReportStore(root).folder(meta.name, meta.run)
    executed = folder / TEMPORARY / EXECUTED
    executed.parent.mkdir(parents=True)
    cell = new_code_cell("show()", outputs=[new_output("display_data", data=output)])
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# {meta.title}"), cell]), executed)
    (folder / META).write_text(meta.model_dump_json(), "utf-8")
    (folder / LOG).write_text("done\n", "utf-8")
    write_page(folder, meta)
    shutil.rmtree(executed.parent)


def remove_reports(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
