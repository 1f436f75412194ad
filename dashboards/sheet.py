"""The HTML around a page: its type and colours, and a script that sets the theme before anything is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Template
from panel.io.resources import _env

from dashboards.face import assets_path
from teknav_ops.api.headers import own_scripts

SHEET: Final[Template] = _env.from_string((Path(__file__).parent / "sheet.html").read_text("utf-8"))


def sheet_variables(prefix: str) -> dict[str, Any]:
    """What the sheet is filled with."""
    return {"assets": assets_path(prefix), "own_scripts": own_scripts}
