"""`make soak MINUTES=30`: the tests of chance with numbers that grow until the time is up, and a report.

Every file that plays `scaled` numbers takes part; each round the numbers are three times those of the round before, and
the order and the examples are others. A failure names the command that repeats it. Ends with 1 when anything failed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST_SCALE, GROWTH = 10, 3


@dataclasses.dataclass(frozen=True)
class Round:
    """One file played once."""

    path: Path
    scale: int
    seed: int
    seconds: float
    exit_code: int | None
    output: Path

    @property
    def verdict(self) -> str:
        return {0: "passed", None: "time was up"}.get(self.exit_code, "FAILED")

    @property
    def command(self) -> str:
        return f"TEKNAV_TEST_SCALE={self.scale} pytest -o timeout=0 --randomly-seed={self.seed} {self.path}"


def files() -> list[Path]:
    """Every test file that plays `scaled` numbers."""
    found = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "scaled(" in path.read_text("utf-8"))
    return [path.relative_to(ROOT) for path in found]


def play(path: Path, scale: int, deadline: float, folder: Path) -> Round:
    """Run one file; at the deadline it is ended."""
    seed, began = random.SystemRandom().getrandbits(32), time.monotonic()
    output = folder / f"{path.stem}-{scale}.txt"
    command = [sys.executable, "-m", "pytest", "-o", "timeout=0", f"--randomly-seed={seed}", str(path)]
    with output.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TEKNAV_TEST_SCALE": str(scale)},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            exit_code: int | None = process.wait(max(0.0, deadline - began))
        except subprocess.TimeoutExpired:
            exit_code = None
            _end(process)
    return Round(path, scale, seed, time.monotonic() - began, exit_code, output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would: so that the tests end their servers. What does not listen is killed."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def soak(minutes: float, folder: Path) -> list[Round]:
    """Play all files, round after round, two at a time."""
    deadline, scale, done = time.monotonic() + minutes * 60, FIRST_SCALE, list[Round]()
    while time.monotonic() < deadline and not any(played.verdict == "FAILED" for played in done):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(play, path, scale, deadline, folder) for path in files()]
            for future in concurrent.futures.as_completed(waiting):
                done.append(future.result())
                _say(_line(done[-1]))
        scale *= GROWTH
    return done


def report(done: list[Round]) -> str:
    """What was played, how long, and how to repeat what failed."""
    lines = [
        "",
        f"{'file':56}{'scale':>8}{'seconds':>10}  verdict",
        *map(_line, sorted(done, key=lambda r: str(r.path))),
    ]
    for played in done:
        if played.verdict == "FAILED":
            lines += ["", f"again: {played.command}", *played.output.read_text(errors="replace").splitlines()[-40:]]
    return "\n".join(lines)


def _line(played: Round) -> str:
    return f"{played.path!s:56}{played.scale:8}{played.seconds:10.1f}  {played.verdict}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    with tempfile.TemporaryDirectory(prefix="teknav-soak-") as folder:
        done = soak(parser.parse_args().minutes, Path(folder))
        _say(report(done))
    return int(any(played.verdict == "FAILED" for played in done))


if __name__ == "__main__":
    sys.exit(main())
