"""`make soak MINUTES=30`: the tests of chance with numbers that grow until the time is up, and a report.

Every file that plays `scaled` numbers takes part; each round the numbers are three times those of the round before, and
the order and the examples are others. What the deadline finds running is ended and counted as far as it came; what it
finds waiting is not begun, and named. A failure names the command that repeats it. Ends with 1 when anything failed.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import contextlib
import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
FIRST_SCALE, GROWTH = 10, 3
#: How long a file may take to end its servers when it is told to.
_END_SECONDS = 180
_MARK = "TEST_SOAK_PLAYS"
_random = random.SystemRandom()


@dataclasses.dataclass(frozen=True)
class Round:
    """One file played once. `exit_code` is None where the time was up before its end."""

    path: Path
    scale: int
    seed: int
    seconds: float
    exit_code: int | None
    #: How many tests ended how: "passed", "failed", "skipped", "xfailed".
    outcomes: Counter[str]
    output: Path

    @property
    def verdict(self) -> str:
        """A failure counts although the time was up; and a file in which no test was found has not passed."""
        if self.outcomes["failed"] or self.exit_code not in (0, None):
            return "FAILED"
        if self.exit_code is None:
            return "time was up" if self.seconds else "not begun"
        return "passed" if self.outcomes else "FAILED"

    @property
    def command(self) -> str:
        return f"TEKNAV_TEST_SCALE={self.scale} pytest -o timeout=0 --randomly-seed={self.seed} {self.path}"


def files() -> list[Path]:
    """Every test file that plays `scaled` numbers, itself or through a module of the tests."""
    return [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py")) if _plays_scaled(path)]


@cache
def _plays_scaled(path: Path) -> bool:
    tree = ast.parse(path.read_text("utf-8"))
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return "scaled" in names or any(_plays_scaled(module) for module in _modules_of_the_tests(tree))


def _modules_of_the_tests(tree: ast.AST) -> list[Path]:
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    paths = [ROOT / f"{name.replace('.', '/')}.py" for name in named if name.startswith("tests.")]
    return [path for path in paths if path.exists() and not path.stem.startswith("conftest")]


def play(path: Path, scale: int, deadline: float, folder: Path) -> Round:
    """Run one file until its end or the deadline; it is not begun when that is past."""
    seed, began = _random.getrandbits(32), time.monotonic()
    output = folder / f"{'-'.join(path.parts)}-{scale}.txt"
    if began >= deadline:
        return Round(path, scale, seed, 0.0, None, Counter(), output)
    command = [sys.executable, "-m", "pytest", "-o", "timeout=0", f"--randomly-seed={seed}", str(path)]
    with output.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            # What it makes is in our folder, which is removed at the end, and what it starts bears its mark.
            env={**os.environ, "TEKNAV_TEST_SCALE": str(scale), "TMPDIR": str(folder), _MARK: output.name},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        exit_code = _wait(process, deadline - began, output.name)
    return Round(path, scale, seed, time.monotonic() - began, exit_code, outcomes_in(output), output)


def _wait(process: subprocess.Popen[bytes], seconds: float, mark: str) -> int | None:
    """How it ended; None when it had to be told, as Ctrl-C would: so that it ends its servers."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(mark)
        return process.wait()
    return None


def _kill(mark: str) -> None:
    """End whatever one file has started, and all that came of it."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARK) == mark:
                process.kill()


def outcomes_in(output: Path) -> Counter[str]:
    """How many tests ended how, by pytest's last line; nothing when it did not come to write one."""
    last = [line for line in output.read_text(errors="replace").splitlines() if re.search(r"\w in [\d.]+s\b", line)]
    found = Counter[str]()
    for count, name in re.findall(r"(\d+) (passed|failed|skipped|xfailed|error)", last[-1] if last else ""):
        found["failed" if name == "error" else name] += int(count)
    return found


def soak(minutes: float, folder: Path) -> list[Round]:
    """Play all files, round after round, two at a time."""
    deadline, scale, done = time.monotonic() + minutes * 60, FIRST_SCALE, list[Round]()
    while time.monotonic() < deadline and not any(played.verdict == "FAILED" for played in done):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            paths = files()
            _random.shuffle(paths)
            waiting = [pool.submit(play, path, scale, deadline, folder) for path in paths]
            for future in concurrent.futures.as_completed(waiting):
                done.append(future.result())
                _say(_line(done[-1]))
        scale *= GROWTH
    return done


def report(done: list[Round]) -> str:
    """What was played, how long, and how to repeat what failed."""
    header = f"{'file':56}{'scale':>8}{'tests':>8}{'seconds':>10}  verdict"
    lines = ["", header, *map(_line, sorted(done, key=lambda played: (str(played.path), played.scale)))]
    for played in done:
        if played.verdict == "FAILED":
            lines += ["", f"again: {played.command}", *played.output.read_text(errors="replace").splitlines()[-40:]]
    verdicts = Counter(played.verdict for played in done)
    tests = sum((played.outcomes for played in done), Counter[str]())
    lines += ["", f"files: {_counted(verdicts)}; tests: {_counted(tests)}"]
    return "\n".join(lines)


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()) if count) or "none"


def _line(played: Round) -> str:
    return f"{played.path!s:56}{played.scale:8}{played.outcomes.total():8}{played.seconds:10.1f}  {played.verdict}"


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
