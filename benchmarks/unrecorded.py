"""Our worker without sketch and audit: `python -m dramatiq benchmarks.unrecorded`."""

from __future__ import annotations

from benchmarks.recording import take_out_recording

take_out_recording()

from benchmarks.ours import broker as broker  # noqa: E402
