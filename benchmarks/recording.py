"""What recording costs the engine: its rate with everything recorded, against itself without sketch and audit.

The variant is the same engine whose scripts lose, as they are loaded, the audit entries and what is counted of
durations and waiting times. `unrecorded.py` is its worker.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import statistics
import sys
from typing import Final

from benchmarks.systems import DRAMATIQ, OURS, rate
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Script

#: The engine with everything recorded does at least so much of what it does without.
LEAST_RATIO: Final = 0.9
#: Scripts that record; a change of their text that hides it from the patterns below must not go unnoticed.
RECORDING: Final = ("complete", "postpone", "dead_letter")
_AUDIT: Final = re.compile(r"redis\.call\('XADD', audit\b")
#: Lines that count a bucket, a sum of durations, or waiting time.
_COUNTED: Final = re.compile(
    r"^.*(?:\.\. '\|(?:failed:)?' \.\. ARGV\[|'\|(?:failed:)?sum_us'|'\|waited_ms').*$\n?", re.M
)

BARE = dataclasses.replace(
    OURS,
    name="without sketch and audit",
    commands=lambda processes: [[*DRAMATIQ, "benchmarks.unrecorded", "-p", str(processes), "-t", "8"]],
)


def without_recording(source: str) -> str:
    """A script's source without audit entries and without what is counted of durations."""
    while found := _AUDIT.search(source):
        source = source[: found.start()] + source[_end_of_call(source, found.start()) :]
    return _COUNTED.sub("", source)


def _end_of_call(source: str, start: int) -> int:
    depth = 0
    for position in range(source.index("(", start), len(source)):
        depth += {"(": 1, ")": -1}.get(source[position], 0)
        if not depth:
            return position + 1
    raise ValueError("a call that does not end")


def take_out_recording() -> None:
    """Let this process load scripts that record nothing."""
    load = scripts.load

    @functools.cache
    def load_bare(name: str) -> Script:
        script = load(name)
        source = without_recording(script.source)
        if name in RECORDING and (source == script.source or "XADD" in source or "sum_us" in source):
            raise ValueError(f"{name}.lua records in a way that this benchmark does not know; teach it")
        return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    scripts.load = load_bare


def report(url: str, *, rounds: int = 3, job_count: int | None = None) -> None:
    """One sentence; rounds are interleaved."""
    pair = [dataclasses.replace(system, job_count=job_count or system.job_count) for system in (OURS, BARE)]
    runs = []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}: with and without recording", file=sys.stderr)
        runs.append([rate(system, url) for system in pair])
    ratio = statistics.median(full["jobs_per_second"] / bare["jobs_per_second"] for full, bare in runs)
    spent = [statistics.median(run[which]["redis_cpu_us_per_job"] for run in runs) for which in (0, 1)]
    verdict = "at least" if ratio >= LEAST_RATIO else "BELOW"
    print(
        f"\nWith everything recorded the engine does {ratio:.2f} × its rate without sketch and audit, {verdict} "
        f"{LEAST_RATIO}; Redis spends {spent[0]:.0f} µs of CPU per job instead of {spent[1]:.0f}."
    )
