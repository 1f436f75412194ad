"""docs/snapshots.md names every question, table and column, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from teknav_ops.snapshots import questions
from tests.snapshots.conftest import SnapshotOf

TEXT = (Path(__file__).parents[2] / "docs/snapshots.md").read_text()


def test_every_question_is_in_the_table_and_no_other_is() -> None:
    section = TEXT.partition("| question |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.M)) == sorted(questions.__all__)


def test_every_table_is_described_with_its_columns_in_their_order(snapshot_of: SnapshotOf) -> None:
    section = TEXT.partition("| table |")[2].partition("\n\n")[0]
    documented = {
        table: re.findall(r"`(\w+)`", columns)
        for table, columns in re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|", section, re.M)
    }
    columns = (
        "select table_name, list(column_name order by column_index) from duckdb_columns() where not internal group by 1"
    )

    assert documented == dict(snapshot_of().cursor().execute(columns).fetchall())


def test_the_lines_of_python_run(snapshot_of: SnapshotOf) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    snapshot = snapshot_of()

    assert len(blocks) == 2
    for block in blocks:
        lines = block.replace("get_settings())", f"Path({str(snapshot.path.parent)!r}))")
        exec(lines, {"Path": Path, "snapshot": snapshot})
