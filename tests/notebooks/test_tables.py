"""Tables for people: units, times, nothing where nothing is known, and nobody's words as markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from teknav_ops.triage.widgets.tables import block, line, table
from teknav_ops.workbench.tables import Table, _side, cell_text
from teknav_ops.workbench.telling import Telling


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("n", 1_234_567, "1,234,567"), ("n", np.int64(5), "5"), ("mean_ms", 1234.6, "1,235"),
        ("mean_ms", 0.12345, "0.1235"),
        ("mean_ms", 3.0, "3"), ("wait_seconds", 4.5e-14, "≈ 0"), ("x", float("nan"), "–"), ("x", None, "–"),
        ("x", pd.NaT, "–"), ("x", True, "yes"), ("x", np.bool_(False), "no"), ("utilisation", 0.1234, "12.3%"),
        ("at", pd.Timestamp("2026-11-25 06:19:19.690", tz="UTC"), "2026-11-25 06:19:19"),
        ("at", datetime(2026, 11, 25, tzinfo=UTC), "2026-11-25"), ("error", "x" * 500, "x" * 159 + "…"),
        ("title", "صف سرریز", "صف سرریز"), ("x", float("inf"), "∞"),
    ],
)  # fmt: skip
def test_a_cell_is_written_for_people(name: str, value: Any, text: str) -> None:
    assert cell_text(name, value) == text


def test_a_table_has_units_in_its_heads_and_words_as_words() -> None:
    frame = pd.DataFrame(
        {"at": pd.to_datetime(["2026-11-25T06:00:01Z"]), "duration_ms": [2.5], "error": ["<script>1</script>"],
         "page": ["https://ops.example/x?a=1&b=2"]}
    )  # fmt: skip

    html = Table(frame)._repr_html_()

    assert ">at (UTC)<" in html and ">duration (ms)<" in html and "<script" not in html and "&lt;script&gt;" in html
    assert 'href="https://ops.example/x?a=1&amp;b=2"' in html
    assert "2.5" in repr(Table(frame))


@pytest.mark.parametrize(
    ("percentile", "counted"),
    [("p95_ms", "n"), ("p50_ms", "runs"), ("p99_duration_ms", "runs"), ("p95_failed_duration_ms", "failed_runs")],
)
def test_a_percentile_of_few_runs_says_of_how_many_also_where_their_column_is_not_shown(
    percentile: str, counted: str
) -> None:
    frame = pd.DataFrame({"queue": list("abcd"), percentile: [1234.5, 2.0, None, 7.0], counted: [19, 20, 0, np.nan]})

    for told in (Table(frame), Telling.table(frame, "queue", percentile)):
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", told._repr_html_())
        texts = [cell for cell in cells if cell not in "abcd"]
        assert [text for text in texts if " of " in text] == ["1,234 of 19"] and "–" in texts and "2" in texts
        assert "1234.5 of 19" in repr(told) and repr(told).count(" of ") == 1
    # A target is none of runs; and where nobody knows the number, none is made up.
    for unknown in (
        frame.rename(columns={percentile: "p95_target_ms"}),
        frame[["queue", percentile]],
        frame.assign(**{counted: "?"}),
    ):
        assert " of " not in Table(unknown)._repr_html_()


def test_numbers_stand_to_the_right_and_an_unknown_text_does_not() -> None:
    frame = pd.DataFrame({"queue": [None, "a"], "wait_ms": pd.Series([None, 2], dtype="object"), "gone": [None, None]})
    assert [_side(frame[name]) for name in frame] == ["start", "right", "start"]

    html = Table(frame)._repr_html_()
    assert html.count('<td style="text-align:right">') == 2 and html.count('<td style="text-align:start"') == 4


def test_a_long_table_says_how_much_is_left_out_and_an_empty_one_why() -> None:
    assert "20 more rows are not shown" in Table(pd.DataFrame({"n": range(120)}))._repr_html_()
    empty = Table(pd.DataFrame({"n": []}), empty="No <job> failed.")
    assert empty._repr_html_() == "<p>No &lt;job&gt; failed.</p>" and repr(empty) == "No <job> failed."


@pytest.mark.parametrize("sign", ["\u202e", "\u2067"])
def test_signs_that_reorder_a_text_are_seen_wherever_a_notebook_shows_it(sign: str) -> None:
    text = f"to {sign}moc.elpmaxe@a"
    shown = [
        Table(pd.DataFrame({"error": [text]}))._repr_html_(),
        table(["error"], [[text]], empty=""),
        block(text),
        line(text, is_wrong=True),
    ]
    for html in shown:
        assert sign not in html and f"\\u{ord(sign):04x}" in html
