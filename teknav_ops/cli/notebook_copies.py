"""Copies of the shipped notebooks to work on: running and saving changes these, and never the checkout."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from teknav_ops.cli import show
from teknav_ops.durable_files import write_whole

#: What each copy was made of: a copy that is still so follows the shipped notebook to its next version.
_LIST: Final = ".shipped.json"


def working_copies(shipped: Path, folder: Path, *, reset: bool = False) -> Path:
    """Bring the copies up to date, and answer their folder. What somebody changed is left alone.

    With `reset` the shipped notebooks are there again, and each changed copy under a name with the time in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = _read_list(folder / _LIST)
    changed = []
    for source in sorted(shipped.glob("*.ipynb")):
        copy, content = folder / source.name, source.read_bytes()
        if copy.exists():
            is_own = _digest(copy.read_bytes()) not in (known.get(source.name), _digest(content))
            if is_own and not reset:
                changed.append(source.name)
                continue
            if is_own:
                copy.rename(copy.with_name(f"{copy.stem}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}.ipynb"))
        write_whole(copy, content, mode=0o600)
        known[source.name] = _digest(content)
    write_whole(folder / _LIST, json.dumps(known, indent=1), mode=0o600)
    if changed:
        show.errors.print(
            f"changed     {', '.join(changed)}: as you left them; `teknav lab --reset` brings the shipped ones back",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    return folder


def _read_list(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in known.items()} if isinstance(known, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
