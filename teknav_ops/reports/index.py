"""The index of published reports: a static page, for whoever looks into the folder instead of the dashboard."""

from __future__ import annotations

from html import escape
from typing import Final

from teknav_ops.durable_files import write_whole
from teknav_ops.reports.page import WORDS, look, moment, number_words, policy
from teknav_ops.reports.runs import RunMeta
from teknav_ops.reports.store import PAGE, ReportStore
from teknav_ops.reports.workroom import Workroom

INDEX: Final = "index.html"
_SHOWN_RUNS: Final = 10
_HEAD: Final = "".join(f'<th scope="col">{name}</th>' for name in ("Run", "Status", "Took", "Said"))


def write_index(store: ReportStore, room: Workroom) -> None:
    """Write it anew from what is published; replaced as a whole."""
    with room.index_lock():
        write_whole(store.root / INDEX, index_page(store))


def index_page(store: ReportStore) -> str:
    """The page: each report with its newest runs."""
    parts = [_report(store.history(name, limit=_SHOWN_RUNS)) for name in store.names()]
    body = "\n".join(part for part in parts if part)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>Reports</title><style>{look("page.css")}</style></head>
<body><main><h1>Reports</h1>
{body or "<p>No report has been run yet. <code>teknav report run queue_health</code> runs one.</p>"}
</main></body></html>
"""


def _report(runs: list[RunMeta]) -> str:
    if not runs:
        return ""
    rows = "".join(
        f'<tr><td><a href="{run.name}/{run.run}/{PAGE}">{moment(run.started_at, run.time_zone)}</a></td>'
        f'<td><span class="badge {run.status}">{WORDS[run.status]}</span></td><td>{run.seconds:,.1f} s</td>'
        f'<td dir="auto">{escape(_summary(run))}</td></tr>'
        for run in runs
    )
    newest = runs[0]
    return (
        f'<h2 id="{newest.name}" dir="auto">{escape(newest.title)}</h2><p class="soft">{newest.name}</p>'
        f"<table><thead><tr>{_HEAD}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _summary(run: RunMeta) -> str:
    if run.error:
        return run.error[:200]
    return " · ".join(f"{number.name}: {number_words(number)}" for number in run.numbers[:6])
