"""What if: other loads, other threads, slower jobs, for one queue. All answers are estimates."""

from __future__ import annotations

import param

from teknav_ops.triage.capacity import CapacityEstimate, estimate
from teknav_ops.triage.view_models.speaking import SpeakingModel


class WhatIfModel(SpeakingModel):
    """Factors on what was measured."""

    load_factor = param.Number(default=1.0, bounds=(0.1, 20.0), doc="Arrivals, times today's.")
    duration_factor = param.Number(default=1.0, bounds=(0.1, 20.0), doc="Mean duration, times today's.")
    threads = param.Integer(default=1, bounds=(1, 1_000), doc="Threads that serve the queue.")

    def __init__(
        self, *, rate_per_second: float, mean_seconds: float, threads: int, backlog_count: int = 0
    ) -> None:  # fmt: skip
        super().__init__(threads=threads)  # type: ignore[no-untyped-call]
        self._rate_per_second = rate_per_second
        self._mean_seconds = mean_seconds
        self._backlog_count = backlog_count
        self.reckon()

    def reckon(self) -> None:
        """Put the estimate into `status`."""
        self.attempt(lambda: self.say(self._words(self.estimate)))

    @property
    def estimate(self) -> CapacityEstimate:
        """The estimate for these factors."""
        return estimate(
            rate_per_second=self._rate_per_second * self.load_factor,
            mean_seconds=self._mean_seconds * self.duration_factor, threads=self.threads,
            backlog_count=self._backlog_count,
        )  # fmt: skip

    @staticmethod
    def _words(found: CapacityEstimate) -> str:
        wait = found.mean_wait_seconds
        return f"{found.words}; {'waits grow without end' if wait is None else f'a job waits {wait:,.2f} s on average'}"
