"""Telling: how a notebook speaks to people: sentences, tables, a text to take away."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from teknav_ops.one_line import with_seen_overrides
from teknav_ops.workbench.tables import Table

if TYPE_CHECKING:
    import pandas


def current_cell() -> int | None:
    """The number of the cell that runs; None outside of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return None if shell is None else int(shell.execution_count)


class Telling:
    """What a workbench says. Nothing here asks Redis or SQL."""

    @staticmethod
    def say(*sentences: Any) -> None:
        """Show sentences, as Markdown; each is a paragraph."""
        from IPython.display import Markdown, display

        paragraphs = "\n\n".join(str(sentence) for sentence in sentences)
        display(Markdown(paragraphs))

    @staticmethod
    def table(
        frame: pandas.DataFrame, *columns: str, limit: int = 100, empty: str = "Nothing in this window."
    ) -> Table:  # fmt: skip
        """A table for people, of these columns or of all; a named index becomes the first column.

        A percentile of fewer than 20 runs says of how many, if the frame knows (`n`, or `runs`).
        """
        shown = frame.reset_index() if frame.index.name else frame
        return Table(shown[list(columns)] if columns and len(shown) else shown, limit, empty, shown)

    @staticmethod
    def offer(file_name: str, text: str) -> None:
        """Show a text with a link that saves it: the notebook itself writes no file."""
        from IPython.display import HTML, display

        content = base64.b64encode(text.encode()).decode()
        html = (
            f'<p><a download="{escape(file_name)}" href="data:text/markdown;charset=utf-8;base64,{content}">'
            f"Save as {escape(file_name)}</a></p><pre>{escape(with_seen_overrides(text))}</pre>"
        )
        display(HTML(html))

    @staticmethod
    def texts(texts: Sequence[str], *, title: str, empty: str) -> None:
        """Show texts as they are, such as stack traces: folded below their first line, the first one open."""
        from IPython.display import HTML, display

        parts = [with_seen_overrides(text).partition("\n") for text in texts]
        blocks = "".join(
            f"<details{' open' if number == 0 else ''}><summary dir='auto'>{escape(head)}</summary>"
            f"<pre>{escape(body)}</pre></details>"
            for number, (head, _, body) in enumerate(parts)
        )
        html = f"<p><b>{escape(title)}</b></p>{blocks}" if texts else f"<p>{escape(empty)}</p>"
        display(HTML(html))

    @staticmethod
    def share(part: float, *, of: float) -> float:
        """`part / of`; 0 where there is nothing to have a part of."""
        return float(part / of) if of else 0.0

    @staticmethod
    def largest(values: pandas.Series) -> float:
        """The largest known value; 0 where none is known."""
        known = values.dropna()
        return float(known.max()) if len(known) else 0.0
