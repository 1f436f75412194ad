"""The list of commands: every one is found, and none waits for what it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from teknav_ops.cli.app import app
from teknav_ops.cli.commands import PLACES, LazyCommands


def test_every_command_has_a_help_line_of_its_own() -> None:
    lines = {name: command.get_short_help_str(200) for name, command in LazyCommands(PLACES).items()}

    assert list(lines) == list(PLACES)
    assert all(lines.values()) and len(set(lines.values())) == len(PLACES)


def test_a_command_that_is_not_there_is_answered_with_the_nearest() -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)

    with pytest.raises(Exception, match="Did you mean 'queues'"):
        group.resolve_command(context, ["queuse"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["queues", "jobs", "dlq", "stats", "events", "enqueue", "secret-key"])
def test_a_command_that_reads_redis_loads_nothing_of_sql_pages_or_notebooks(name: str) -> None:
    heavy = {"sqlalchemy", "alembic", "pandas", "fastapi", "panel", "duckdb", "plotly", "jinja2", "apscheduler"}
    code = (
        "import sys; from teknav_ops.cli.commands import PLACES, LazyCommands; import teknav_ops.cli.app;"
        f"LazyCommands(PLACES)[{name!r}]; print(sorted({heavy!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
