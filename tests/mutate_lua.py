"""`python -m tests.mutate_lua`: flip each comparison of the Lua scripts in turn, and see whether a test notices.

A mutant that no test notices is printed with its line: either a test is missing, or the condition is. The tests of the
script itself run first, then those that play all scripts together. Ends with 1 when any mutant lived.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from teknav_ops.redis_state import scripts

ROOT: Final = Path(__file__).parents[1]
LUA: Final = ROOT / "teknav_ops/redis_state/lua"
#: What stands in a script, and what stands there instead.
FLIPS: Final = {
    "==": "~=",
    "~=": "==",
    "<=": "<",
    ">=": ">",
    "<": "<=",
    ">": ">=",
    " and ": " or ",
    " or ": " and ",
    "not ": "",
    " + 1": " + 2",
    " - 1": " - 2",
    " + ": " - ",
    " - ": " + ",
}
#: Longest first; arrows, comments and strings are passed over.
_PATTERN: Final = re.compile("|".join(re.escape(word) for word in sorted(FLIPS, key=len, reverse=True)))
#: What every script's mutants meet when its own tests let them live.
TOGETHER: Final = ("tests/model", "tests/fault_points")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One script with one flip."""

    script: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.script}.lua:{self.line}: {self.before.strip()}  →  {self.after.strip()}"


def mutants(script: str) -> Iterator[Mutant]:
    """Every flip of one script's code, with the parts that it includes; lines are counted with them."""
    lines = scripts.load(script).source.splitlines(keepends=True)
    for number, line in enumerate(lines):
        code = _without_strings(line)
        for found in _PATTERN.finditer(code):
            flipped = line[: found.start()] + FLIPS[found[0]] + line[found.end() :]
            source = "".join([*lines[:number], flipped, *lines[number + 1 :]])
            yield Mutant(script, number + 1, line, flipped, source)


def _without_strings(line: str) -> str:
    """The line with its comment and the insides of its strings blanked out, at the same places."""
    line = re.sub(r"'[^']*'|\"[^\"]*\"", lambda found: "." * len(found[0]), line)
    return re.sub(r"--.*|#!.*", lambda found: " " * len(found[0]), line)


def is_noticed(mutant: Mutant) -> bool:
    """Whether a test fails with it."""
    own = f"tests/redis_state/lua/test_{mutant.script}.py"
    return _fails(mutant, [own]) or _fails(mutant, [path for path in TOGETHER if (ROOT / path).exists()])


def _fails(mutant: Mutant, paths: list[str]) -> bool:
    """Run tests with the mutant, in a fork: whatever it does to them is gone afterwards."""
    pid = os.fork()
    if pid == 0:
        _load_instead(mutant)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "timeout=60", *paths])
        os._exit(int(code))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def _load_instead(mutant: Mutant) -> None:
    load = scripts.load
    digest = hashlib.sha1(mutant.source.encode(), usedforsecurity=False).hexdigest()
    flipped = scripts.Script(mutant.script, mutant.source, digest)
    scripts.load = lambda name: flipped if name == mutant.script else load(name)  # type: ignore[assignment]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate_lua", description=__doc__)
    parser.add_argument("scripts", nargs="*", default=sorted(path.stem for path in LUA.glob("*.lua")))
    parser.add_argument("--every", type=int, default=1, help="only each so-manyth mutant")
    chosen = parser.parse_args()
    played, lived = 0, 0
    for script in chosen.scripts:
        for mutant in list(mutants(script))[:: chosen.every]:
            played += 1
            if not is_noticed(mutant):
                lived += 1
                sys.stdout.write(f"lived: {mutant}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{played} mutants, {played - lived} noticed, {lived} lived\n")
    return int(lived > 0)


if __name__ == "__main__":
    sys.exit(main())
