"""Views of the triage models for notebooks, with ipywidgets (extra `lab`)."""

from __future__ import annotations

from typing import Any

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.view_models.acting import Bench

__all__ = ["dlq_triage"]


def dlq_triage(bench: Bench, *, queue: str, interactive: bool = True) -> Any:
    """The widget for a queue's dead letters; without a person in front (`interactive` False) a sentence."""
    if not interactive:
        return "Not shown: this run has no person in front of it. Open the notebook in JupyterLab."
    try:
        from teknav_ops.triage.widgets.dlq_triage import DlqTriage
    except ImportError as error:
        raise InvalidRequest(f"widgets need {error.name}: pip install teknav-ops[lab]") from None
    from teknav_ops.triage.view_models import DlqTriageModel

    return DlqTriage(DlqTriageModel(bench, queue))
