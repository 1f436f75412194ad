"""`teknav plugins`: install, list, switch off and on, look at runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import BoundedLimitOption, JsonOption, parse_data

app = typer.Typer(help="Plugins: install, list, switch off and on, look at their runs.", no_args_is_help=True)

SlugArgument = Annotated[str, typer.Argument(help="The plugin's slug.")]


@app.command()
def install(
    module: Annotated[Path, typer.Argument(help="The module: .wasm or .wat.", exists=True, dir_okay=False)],
    manifest: Annotated[str, typer.Option(help="The manifest: JSON, or @file.")],
) -> None:
    """Install a plugin, or a new version of it, and pin its hash."""
    digest = Context().control.plugins.install(module.read_bytes(), parse_data(manifest))
    show.console.print(f"installed, sha256 {digest}", soft_wrap=True)


@app.command("list")
def list_plugins(json_output: JsonOption = False) -> None:
    """All plugins and what they may do."""
    plugins = Context().control.plugins.installed()
    if json_output:
        show.as_json(plugins)
        return
    show.table(
        ("plugin", "version", "status", "permissions", "hosts", "installed by", "name"),
        [
            (p.slug, p.version, p.status, ", ".join(p.permissions), ", ".join(p.allowed_hosts), p.installed_by, p.name)
            for p in plugins
        ],
        empty="No plugins. Install one: teknav plugins install FILE --manifest @manifest.json",
    )


@app.command()
def enable(slug: SlugArgument) -> None:
    """Run a plugin again."""
    Context().control.plugins.enable(slug)
    show.console.print(f"{slug} is enabled")


@app.command()
def disable(slug: SlugArgument) -> None:
    """Run a plugin no more."""
    Context().control.plugins.disable(slug)
    show.console.print(f"{slug} is disabled")


@app.command()
def executions(slug: SlugArgument, limit: BoundedLimitOption = 20, json_output: JsonOption = False) -> None:
    """The newest runs of a plugin."""
    runs = Context().control.plugins.executions(slug, limit=limit)
    if json_output:
        show.as_json(runs)
        return
    show.table(
        ("at", "status", "reason", "ms", "fuel", "memory", "event", "error"),
        [(r.at, r.status, r.reason, r.duration_ms, r.fuel_used, r.memory_bytes, r.event, r.error) for r in runs],
        empty=f"{slug} has not run yet.",
    )
