"""Small notebooks for the runner's tests, each with one thing to try."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

_KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
_CHART = """\
import plotly.graph_objects as go

figure = go.Figure(go.Bar(x=["الف", "ب", "</script><script>document.title='broken'</script>"], y=[3, 1, 2]))
figure.update_layout(title="Jobs by kind", xaxis_title="kind", yaxis_title="jobs")
figure.show()"""
_TABLE = """\
import pandas as pd

pd.DataFrame({"queue": ["media:optimize", "صف سرریز"], "jobs": [12, 3]})"""
_HOSTILE = """\
from IPython.display import HTML, display

display(HTML("<script>document.title = 'broken'</script><img src='https://elsewhere.example/x.png'>"
             "<link rel=stylesheet href=https://elsewhere.example/x.css><b onclick='1' id=kept>kept</b>"
             "<form action='/sign-out' method=post></form>"))"""
_LIMITS = """\
from teknav_ops.reports import limits

limits.note("completed", 1234567, "jobs")
limits.check("dead letters", dead_letters, "jobs", at_most=10)"""
_SETTINGS = """\
from teknav_ops.settings import get_settings

settings = get_settings()
print("who", settings.operator, "run", settings.report_run, "replay", settings.report_allow_replay)"""


def _notebook(title: str, *cells: tuple[str, str] | str) -> nbformat.NotebookNode:
    made = [new_markdown_cell(f"# {title}\n\nگزارش **روزانه** برای `media:optimize`.")]
    for cell in cells:
        source, tag = (cell, "") if isinstance(cell, str) else cell
        made.append(new_code_cell(source, metadata={"tags": [tag]} if tag else {}))
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return new_notebook(cells=made, metadata=_KERNEL)


NOTEBOOKS = {
    "charts": _notebook(
        "How many jobs of each kind?",
        ("days: int = 1\ndead_letters: int = 3\ninteractive: bool = True", "parameters"),
        ("secret_code = 'hidden cell'\nprint('hidden words')", "hide"), _CHART, _CHART, _TABLE, _HOSTILE,
        ("print('only at a screen', interactive)", "interactive"), (_LIMITS, "limits"),
    ),
    "failing": _notebook("What breaks?", "print('before the fall')", "raise RuntimeError('the third wheel came off')"),
    "sleeping": _notebook(
        "What takes long?",
        ("marker: str = ''\nseconds: float = 60.0", "parameters"),
        "import os, pathlib\nprint('asleep soon')\nmarker and pathlib.Path(marker).write_text(str(os.getpid()))",
        "import time\ntime.sleep(seconds)",
    ),
    "typed": _notebook(
        "Which types are there?",
        ("hours: int = 24\nshare: float = 0.5\nis_deep: bool = False\nqueue: str = 'a'\nsince: str | None = None\n"
         "profile: str | None = None", "parameters"),
        "print('got', repr(hours), repr(share), repr(is_deep), repr(queue), repr(since))", _SETTINGS,
    ),
    "dying": _notebook("What dies?", "print('alive')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
}  # fmt: skip


def write_notebooks(folder: Path) -> Path:
    """All of them, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in NOTEBOOKS.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder
