"""What notebooks should have found, counted another way: in SQL; and what they did show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from teknav_ops.storage.tables import AuditLog

if TYPE_CHECKING:
    from tests.notebooks.conftest import Lab


def count(lab: Lab, action: str, **where: Any) -> int:
    """How many entries AuditLog has."""
    found = select(func.count()).select_from(AuditLog).filter_by(action=action, **where)
    with lab.system.services.database.reading() as session:
        return int(session.execute(found).scalar_one())


ENDS = ("job.completed", "job.failed", "job.retried")


def durations(lab: Lab, *actions: str) -> list[float]:
    """Durations in ms of the runs that ended so, or in any way, ascending."""
    asked = select(AuditLog.duration_ms).where(AuditLog.action.in_(actions or ENDS), AuditLog.duration_ms.is_not(None))
    with lab.system.services.database.reading() as session:
        return sorted(float(value) for value in session.scalars(asked))


def said(notebook: Any) -> str:
    """All Markdown that cells showed."""
    return "\n".join(
        output.data["text/markdown"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    )


def charts(notebook: Any) -> dict[str, Any]:
    """The charts, by title."""
    found = [
        output.data["application/vnd.plotly.v1+json"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    return {chart["layout"]["title"]["text"]: chart for chart in found}
