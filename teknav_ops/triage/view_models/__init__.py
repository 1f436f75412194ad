"""What triage widgets hold and do, without a widget toolkit: `param` models that views watch."""

from teknav_ops.triage.view_models.dlq_triage import DlqTriageModel

__all__ = ["DlqTriageModel"]
