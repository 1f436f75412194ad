"""What triage widgets hold and do, without a widget toolkit: `param` models that views watch."""

from teknav_ops.triage.view_models.dlq_triage import DlqTriageModel
from teknav_ops.triage.view_models.job_explorer import JobExplorerModel
from teknav_ops.triage.view_models.queue_monitor import QueueMonitorModel
from teknav_ops.triage.view_models.what_if import WhatIfModel

__all__ = ["DlqTriageModel", "JobExplorerModel", "QueueMonitorModel", "WhatIfModel"]
