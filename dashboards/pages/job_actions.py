"""What can be done to one job, wherever it is shown."""

from __future__ import annotations

from dashboards.page import Outcome, action, short
from dashboards.visit import Visit
from teknav_ops.access.policy import Operation


class JobActions:
    """Actions of pages that show jobs."""

    visit: Visit

    @action(Operation.ACT)
    def promote(self, queue: str, job_id: str) -> Outcome:
        """Run a delayed job now."""
        self.visit.control.promote(queue, job_id)
        return Outcome(f"{short(job_id)} runs as soon as a worker is free.")

    @action(Operation.ACT)
    def cancel(self, queue: str, job_id: str) -> Outcome:
        """Take a job out that has not begun."""
        self.visit.control.cancel(queue, job_id)
        return Outcome(f"{short(job_id)} is taken out.")

    @action(Operation.ACT)
    def run_again(self, queue: str, job_id: str) -> Outcome:
        """Run a completed or cancelled job once more, as a new job."""
        accepted = self.visit.control.run_again(queue, job_id)
        text = "waits to run it again." if accepted.is_new else "runs it again already; no other job was made."
        return Outcome(f"{short(accepted.job_id)} {text}")

    @action(Operation.ACT)
    def retry(self, queue: str, job_id: str) -> Outcome:
        """Run a failed job again."""
        self.visit.control.retry(queue, job_id)
        return Outcome(f"{short(job_id)} waits again, with fresh attempts.")
