"""Tables for people, on terminals of any width."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

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


ID, TRACE = "0199f0c2-7d53-7a40-9c39-3f8f2f3a7d11", "ab" * 16


@pytest.mark.parametrize("width", [40, 80, 100, 120])
@pytest.mark.parametrize("place", range(6))
def test_an_id_is_whole_in_every_column_at_every_width(monkeypatch: pytest.MonkeyPatch, width: int, place: int) -> None:
    values: list[object] = ["execute-plugin", "12 min 20 s ago", 12_345, "WebhookUnreachable", "the receiver said no"]
    values.insert(place, ID)
    columns = tuple(f"column {number}" for number in range(6))

    lines = drawn(monkeypatch, width, columns, tuple(values), ("x", "y", 1, "z", "w", TRACE))

    assert any(ID in line for line in lines) and any(TRACE in line for line in lines), lines
    for value in ("execute-plugin", "12 min 20 s ago", "12,345", "WebhookUnreachable"):
        assert value in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width


def test_dead_letters_at_eighty_columns_keep_their_ids_and_the_error_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("id", "job", "failed", "attempts", "error type", "error")
    lines = drawn(
        monkeypatch, 80, columns, (ID, "deliver-webhook", "2 h 4 min ago", 12, "WebhookUnreachable", "no " * 30)
    )

    assert lines[0].split() == ["id", "job", "failed", "attempts"]
    assert lines[1] == f"{ID} deliver-webhook 2 h 4 min ago       12"
    assert lines[2].startswith("  error type: WebhookUnreachable · error: no no")


OBEYED = "\x1b[2J\x1b]0;title\a\x9b31m\u202eend"


def test_a_terminal_obeys_nothing_that_stands_in_a_text() -> None:
    console = show.Terminal(width=300, force_terminal=True, color_system=None)
    with console.capture() as text:
        console.print(OBEYED, markup=False)
        console.print(Padding(Text(OBEYED), 1), Table(title=OBEYED))
        console.rule(OBEYED)
        console.print_json(data={OBEYED: OBEYED})
        with Live(console=console, auto_refresh=False) as live:
            live.update(Text(OBEYED), refresh=True)
    drawn = text.get()
    # What is left are the moves of the live display itself.
    assert re.findall("\x1b[^m]*?[a-zA-Z]|[\a\x9b\u202e]", re.sub("\x1b\\[[0-9?]*[ABKlh]", "", drawn)) == []
    assert drawn.count(r"\u001b[2J") == 7 and r"\u009b31m\u202eend" in drawn


def test_nor_does_json_hold_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    show.as_json({"error": OBEYED})
    told = capsys.readouterr().out
    assert not {"\x1b", "\a", "\x9b", "\u202e"} & set(told) and json.loads(told) == {"error": OBEYED}
