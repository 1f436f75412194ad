"""The catalogue of reports: which notebooks there are, and what parameters each takes."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import threading
from pathlib import Path
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.one_line import is_one_line
from teknav_ops.reports.parameters import TYPES, Parameter
from teknav_ops.reports.runs import NAME

#: A folder beside the published reports, and the notebook that new ones are copied from.
_RESERVED: Final = frozenset({"assets", "template"})
#: Python 3.11 counts its depth in a syntax tree in one place for all threads, and fails when two build one at once.
_PARSING: Final = threading.Lock()


class UnknownReport(InvalidRequest):
    """There is no report, or no run, of that name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """A notebook that can be run unattended. `title` is its first heading."""

    name: str
    path: Path
    title: str
    parameters: dict[str, Parameter]


class Catalogue:
    """The notebooks of one folder; read anew at each question, so that a saved notebook counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """All reports, by name."""
        return sorted(path.stem for path in self._folder.glob("*.ipynb") if _is_name(path.stem))

    def get(self, name: str) -> Report:
        """One report.

        Raises:
            UnknownReport: there is none of that name.
            InvalidRequest: its notebook cannot be read, or a parameter has no type that can be checked.
        """
        path = self._folder / f"{name}.ipynb"
        if not _is_name(name) or not path.is_file():
            near = difflib.get_close_matches(name, self.names(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.names()) or 'none'}"
            raise UnknownReport(f"report: no {name!r} in {self._folder} (TEKNAV_NOTEBOOKS_DIR); {hint}")
        try:
            cells = json.loads(path.read_text("utf-8"))["cells"]
            return Report(name, path, _title(cells) or name, _parameters(cells))
        except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
            raise InvalidRequest(f"report: {path} cannot be used: {error}") from None


def _is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name not in _RESERVED


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _title(cells: list[dict[str, Any]]) -> str:
    """The first heading."""
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in _source(cell).splitlines())
    title = next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
    # It becomes a mail's subject.
    return "".join(sign if is_one_line(sign) else " " for sign in title)


def _parameters(cells: list[dict[str, Any]]) -> dict[str, Parameter]:
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", ())]
    with _PARSING:
        statements = ast.parse(_source(tagged[0])).body if tagged else []
    found = (_parameter(statement) for statement in statements)
    return {parameter.name: parameter for parameter in found if parameter is not None}


def _parameter(statement: ast.stmt) -> Parameter | None:
    """From `hours: int = 24`, or from `hours = 24`, whose type is that of the value."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            default = ast.literal_eval(value)
            words = _alternatives(ast.unparse(annotation))
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = ast.literal_eval(value)
            words = {type(default).__name__}
        case _:
            return None
    kinds = words - {"None"}
    if len(kinds) != 1 or not kinds <= TYPES.keys():
        raise ValueError(f"parameter {name}: declare it as one of {', '.join(TYPES)}, with `| None` if it may be unset")
    return Parameter(name, kinds.pop(), default, is_optional="None" in words)


def _alternatives(annotation: str) -> set[str]:
    """`str | None` and `Optional[str]` are the same."""
    if annotation.startswith("Optional[") and annotation.endswith("]"):
        return {annotation.removeprefix("Optional[").removesuffix("]"), "None"}
    return {word.strip() for word in annotation.split("|")}
