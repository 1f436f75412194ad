"""Tables for people, on terminals of any width."""

from __future__ import annotations

import pytest
from rich.console import Console

from teknav_ops.cli import show

LONG = "queue: a queue's name; hours: how far back, a whole number from 1 to 720; percentile: 0.5, 0.95 or 0.99"


def drawn(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: tuple[str, ...], *rows: tuple[object, ...]
) -> list[str]:
    console = Console(width=width, force_terminal=False)
    monkeypatch.setattr(show, "console", console)
    with console.capture() as text:
        show.table(columns, rows, empty="nothing")
    return [line.rstrip() for line in text.get().splitlines()]


def test_a_long_last_column_stands_below_its_row_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("report", "newest run", "status", "schedule", "takes")
    rows = [
        ("capacity_forecast", "3 min 20 s ago", "within its limits", "0 6 * * *", LONG),
        ("slo", None, "not run yet", "", ""),
    ]

    narrow, wide = drawn(monkeypatch, 80, columns, *rows), drawn(monkeypatch, 200, columns, *rows)

    assert max(map(len, narrow)) <= 80
    assert narrow[1].split() == [
        "capacity_forecast",
        "3",
        "min",
        "20",
        "s",
        "ago",
        "within",
        "its",
        "limits",
        "0",
        "6",
        "*",
        "*",
        "*",
    ]
    assert narrow[2].startswith("  takes: queue: a queue's name")
    assert narrow[-1].startswith("slo")
    assert len(wide) == 3 and wide[0].endswith("takes")


def test_the_queues_fit_eighty_columns_and_no_number_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("queue", "state", "wait", "act", "delay", "done", "failed", "dlq", "work", "p95 ms")
    lines = drawn(
        monkeypatch,
        80,
        columns,
        ("analytics:snapshot", "running", 1_204, 16, 320, 110_204, 1_300, 1_300, 2, "1,542 of 6"),
    )
    assert len(lines) == 2 and max(map(len, lines)) <= 80
    assert lines[1].endswith("1,542 of 6")
