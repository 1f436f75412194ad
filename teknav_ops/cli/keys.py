"""`teknav keys`: which secret key is needed for what, and putting everything under the current one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.finding import Finding
from teknav_ops.cli.options import JsonOption
from teknav_ops.cli.progress import counting
from teknav_ops.secret_key import cipher_keys
from teknav_ops.secret_rotation.sealed_values import KINDS
from teknav_ops.secret_rotation.secret_keys import KeyStatus, KeyUse

app = typer.Typer(help="Secret keys: what is under which, and changing to a new one.", no_args_is_help=True)


@app.command()
def status(json_output: JsonOption = False) -> None:
    """Count what needs each key of TEKNAV_SECRET_KEY, and say which can be removed. Reads every job's record."""
    _look(Context().control.keys.status, json_output)


@app.command()
def reencrypt(json_output: JsonOption = False) -> None:
    """Put all that is encrypted under the current key, while workers run; ended early, it goes on when repeated.

    Exits with 1 when something still needs another key.
    """
    found = _look(Context().control.keys.reencrypt, json_output)
    raise typer.Exit(1 if found.waiting_count else 0)


def _look(read: Callable[..., KeyStatus], json_output: bool) -> KeyStatus:
    with counting("records", is_silent=json_output) as on_progress:
        found = read(on_progress=on_progress)
    if json_output:
        show.as_json(_plain(found))
    else:
        _print(found)
    return found


def _plain(found: KeyStatus) -> dict[str, Any]:
    removable = [key.key_id for key in found.removable]
    return {**dataclasses.asdict(found), "removable": removable, "waiting_count": found.waiting_count}


def _print(found: KeyStatus) -> None:
    rows = [("id", *(key.key_id for key in found.keys))]
    rows += [(kind, *(f"{key.counts[kind]:,}" for key in found.keys)) for kind in KINDS]
    show.table(("", *map(_named, found.keys)), rows, empty="")
    for line in lines_of(found):
        show.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _named(key: KeyUse) -> str:
    if key.place is None:
        return "not set"
    return "key 1 (current)" if key.is_current else f"key {key.place}"


def lines_of(found: KeyStatus) -> list[str]:
    """What follows from it, in words."""
    lines = [
        f"{count:,} {kind} can be read with none of these keys: {', '.join(found.unreadable_examples)}"
        for kind, count in found.unreadable.items()
    ]
    if found.other_workers:
        lines.append(f"these workers encrypt with another key; restart them: {', '.join(found.other_workers)}")
    if found.waiting_count:
        lines.append(f"{found.waiting_count:,} need an older key: run `teknav keys reencrypt`")
    lines += [
        f"key {key.key_id} (number {key.place} in TEKNAV_SECRET_KEY) is needed for nothing and can be removed, once no "
        "process runs that started with it as the first; backups from before still need it"
        for key in found.removable
    ]
    return lines


def finding(context: Context) -> Finding:
    """For `teknav doctor`: with one key there is nothing to count."""
    keys = cipher_keys(context.settings)
    if len(keys) == 1:
        return Finding("keys", True, "one secret key")
    found = context.control.keys.status()
    remedy = "Restart what runs with an older setting, then run `teknav keys reencrypt`."
    is_well = not (found.waiting_count or found.unreadable or found.other_workers)
    return Finding("keys", is_well, f"{len(keys)} secret keys; {'; '.join(lines_of(found))}", remedy)
