"""The runbook: what does an error or an alert mean, and how is it fixed?"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt

from dashboards.page import ROOT, Crumb, Page
from teknav_ops.one_line import with_seen_overrides

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "runbook"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,80}")
#: Every error type has a link here, also those of other code.
_NO_PAGE: Final = (
    "There is no page about this name. An error that our code does not know by name is one of the code itself or of a "
    "library: its stack trace says where."
)
#: Links inside the docs, as links between pages.
_LINK: Final = re.compile(r'href="(\.\./)?(alerts/)?([A-Za-z][\w-]*)\.md(?:#[\w-]*)?"')


class RunbookPage(Page):
    """One page of docs/runbook."""

    name = "runbook"
    path = "runbook/{name}"
    place = "queues"
    folder = ""

    def title(self) -> str:
        """Shown in the browser's tab."""
        return f"Runbook: {self.visit.route['name']}"

    def crumbs(self) -> list[Crumb]:
        """The way here."""
        return [("Runbook", f"{ROOT}/runbook"), (self.title(), None)]

    def concerns(self, event: Any) -> bool:
        """Nothing that happens changes it."""
        return False

    def load(self) -> dict[str, Any]:
        """The page as HTML, made from our own file; where there is none, what that says."""
        name = self.visit.route["name"]
        found = _read(self.folder, name) if _NAME.fullmatch(name) else None
        return {"html": found or f"<h1>{escape(with_seen_overrides(name))}</h1><p>{_NO_PAGE}</p>"}


class RunbookIndexPage(RunbookPage):
    """The list of all pages."""

    path = "runbook"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Runbook"

    def crumbs(self) -> list[Crumb]:
        """It is the top."""
        return [(self.title(), None)]

    def load(self) -> dict[str, Any]:
        """docs/runbook/README.md."""
        return {"html": _read("", "README")}


class AlertRunbookPage(RunbookPage):
    """One page of docs/runbook/alerts."""

    path = "runbook/alerts/{name}"
    place = "alerts"
    folder = "alerts"


@cache
def _read(folder: str, name: str) -> str | None:
    path = _FOLDER / folder / f"{name}.md"
    if not path.is_file():
        return None
    text = MarkdownIt("commonmark", {"html": False}).enable("table").render(path.read_text("utf-8"))
    # Markdown knows neither names of tables nor which way a heading goes.
    text = text.replace("<table>", f'<table aria-label="{"Error types" if name == "README" else name}">').replace(
        "<th>", '<th scope="col">'
    )
    return _LINK.sub(lambda link: _attribute(folder, link), text)


def _attribute(folder: str, link: re.Match[str]) -> str:
    """Where a link in a file of `folder` leads: to a file beside it, in the folder that it names, or one above."""
    up, down, name = link.groups()
    if up and not folder:
        # Documentation beside the runbook, which is not served.
        return f'title="docs/{name}.md"'
    place = down or (f"{folder}/" if folder and not up else "")
    return f'href="{ROOT}/runbook/{place}{name}"'
