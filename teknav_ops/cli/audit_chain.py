"""`teknav audit verify` and `export`: is the audit trail as it was written?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from teknav_ops.audit.chain.anchor import Anchor, anchor_fault, read_anchor
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.export import ExportSource, write_export
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.verification import Finding, Verification
from teknav_ops.audit.chain.verify import verify as follow
from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption
from teknav_ops.cli.progress import counting
from teknav_ops.redis_state.connection import OUTAGE_ERRORS


def verify(
    file: Annotated[Path | None, typer.Option("--from", help="An export, in place of the database.")] = None,
    expect: Annotated[
        str | None, typer.Option(help="NUMBER:HASH of a link that an earlier verification told as the newest.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Follow the hashes only, where TEKNAV_SECRET_KEY is not at hand.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Compare every row of AuditLog with the chain over it; exits with 1 when one was changed, removed or inserted."""
    context = Context()
    keys = None if without_keys else LinkKeys.from_settings(context.settings)
    with counting("rows", is_silent=json_output) as on_progress:
        if file is not None:
            found = follow(ExportSource(file), keys, expected=expect, on_progress=on_progress)
        else:
            # Before the database's moment: the chain of that moment must hold what was there before.
            anchor = _anchor(context)
            with source_of(context.database) as source:
                found = follow(source, keys, expected=expect, on_progress=on_progress)
                if fault := anchor_fault(source, anchor):
                    found.add(Finding(kind="expected", text=fault))
    if json_output:
        show.as_json({
            **dataclasses.asdict(found), "is_intact": found.is_intact, "rows_per_second": round(found.rows_per_second),
        })  # fmt: skip
    else:
        _print(found)
    raise typer.Exit(0 if found.is_intact else 1)


def _anchor(context: Context) -> Anchor | None:
    try:
        return read_anchor(context.client)
    except OUTAGE_ERRORS as error:
        show.errors.print(
            f"Redis did not answer, so the end of the chain is not held against its anchor: {error}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return None


def accept(
    reason: Annotated[str, typer.Option(help="Why, in one line; it stands in the audit trail.")],
    json_output: JsonOption = False,
) -> None:
    """Take the chain as it is, after SQL was restored from a copy or has lost its newest writes.

    Its newest link is the anchor from then on: what was there beyond it is not asked for any more.
    """
    anchor = Context().control.audit_chain.accept(reason=reason)
    if json_output:
        show.as_json({"anchor": None if anchor is None else dataclasses.asdict(anchor)})
        return
    told = "there is no link yet" if anchor is None else f"link {anchor.number} is the anchor, {anchor.hash}"
    show.console.print(told, highlight=False, soft_wrap=True)


def _print(found: Verification) -> None:
    for finding in found.findings:
        show.errors.print(finding.text, markup=False, highlight=False, soft_wrap=True)
    if found.finding_count > len(found.findings):
        show.errors.print(f"and {found.finding_count - len(found.findings):,} more", highlight=False)
    verdict = "as it was written" if found.is_intact else "NOT as it was written"
    lines = [
        f"AuditLog is {verdict}: {found.row_count:,} rows, {found.link_count:,} links, "
        f"{found.rows_per_second:,.0f} rows/s ({found.seconds:.1f} s)",
        f"newest link {found.newest}; keep it elsewhere, and pass it to --expect next time" if found.newest else
        "nothing is sealed yet; the scheduler seals what is new within a minute",
    ]  # fmt: skip
    if found.pruned_to_id is not None:
        lines.append(f"rows up to {found.pruned_to_id} were deleted by retention")
    if found.unsealed_count:
        lines.append(f"{found.unsealed_count:,} newer rows are not sealed yet")
    for line in lines:
        show.console.print(line, markup=False, highlight=False, soft_wrap=True)


def export(
    file: Annotated[Path, typer.Argument(help="A new file, gzipped; `teknav audit verify --from` reads it.")],
    json_output: JsonOption = False,
) -> None:
    """Write AuditLog with its chain to a file, which can be verified without the database. It holds all details."""
    with counting("rows", is_silent=json_output) as on_progress, source_of(Context().database) as source:
        count = write_export(source.session, file, on_progress=on_progress)
    if json_output:
        show.as_json({"file": str(file), "rows": count})
        return
    show.console.print(f"{file}: {count:,} rows", highlight=False, soft_wrap=True)
