"""`python -m tests.mutate_lua`: flip each comparison of the Lua scripts in turn, and see whether a test notices.

A mutant that no test notices is printed with its line: either a test is missing, or the condition is needless. The
tests of the script itself run first, then, of those that play all scripts together, the ones that send it. All are
collected once, in one session of pytest, and played as they are: they must pass, and it is seen who sends what. Each
mutant then meets them in a fork of that session. Ends with 1 when any mutant lived.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis.internal.conjecture import engine

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


class Mutation:
    """A plugin of pytest that plays the collected tests once as they are, and then with each mutant."""

    def __init__(self, mutants: Sequence[Mutant], say: Callable[[str], object]) -> None:
        self._mutants, self._say = mutants, say
        self._senders: dict[str, dict[str, pytest.Item]] = collections.defaultdict(dict)
        self._failure = ""
        self.lived: list[Mutant] = []
        self.is_played = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failure = report.longreprtext if report.failed else self._failure

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._note_senders(session.items)
        for mutant in self._mutants:
            if not self._is_noticed(mutant):
                self.lived.append(mutant)
                self._say(f"lived: {mutant}\n")
        played, lived = len(self._mutants), len(self.lived)
        self._say(f"{played} mutants, {played - lived} noticed, {lived} lived\n")
        self.is_played = True
        return True

    def _note_senders(self, items: Sequence[pytest.Item]) -> None:
        """Play all tests, and note which make a call of which script."""
        make = scripts.Call.__init__

        def make_and_note(call: scripts.Call[Any], script: scripts.Script, *args: Any) -> None:
            self._senders[script.name][item.nodeid] = item
            make(call, script, *args)

        scripts.Call.__init__ = make_and_note  # type: ignore[method-assign]
        for item, following in _in_pairs(items):
            if not _passes(item, following):
                self._say(f"fails without a mutant: {item.nodeid}\n{self._failure}\n")
                pytest.exit("see above")
        scripts.Call.__init__ = make  # type: ignore[method-assign]

    def _is_noticed(self, mutant: Mutant) -> bool:
        """Whether a test fails with it, tried in a fork: whatever it does to them is gone afterwards."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _load_instead(mutant)
                code = int(not self._all_pass(mutant.script))
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0

    def _all_pass(self, script: str) -> bool:
        items = sorted(self._senders[script].values(), key=lambda item: not item.nodeid.startswith(_own(script)))
        return all(_passes(item, following) for item, following in _in_pairs(items))


def _in_pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item]]:
    """Each with the one that comes next; after the last comes one with which it shares nothing but the session's."""
    first, *_, last = items[0].session.items
    yield from itertools.pairwise([*items, last if items[-1] is first else first])


def _passes(item: pytest.Item, following: pytest.Item) -> bool:
    item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed == 0


def _own(script: str) -> str:
    return f"tests/redis_state/lua/test_{script}.py"


def _load_instead(mutant: Mutant) -> None:
    load = scripts.load
    digest = hashlib.sha1(mutant.source.encode(), usedforsecurity=False).hexdigest()
    flipped = scripts.Script(mutant.script, mutant.source, digest)
    scripts.load = lambda name: flipped if name == mutant.script else load(name)  # type: ignore[assignment]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate_lua", description=__doc__)
    parser.add_argument("scripts", nargs="*", default=sorted(path.stem for path in LUA.glob("*.lua")))
    parser.add_argument("--every", type=int, default=1, help="only each so-manyth mutant")
    parser.add_argument("--first", type=int, default=0, help="the first of them: several processes can share the work")
    chosen = parser.parse_args()
    all_of_them = [mutant for script in chosen.scripts for mutant in mutants(script)]
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        mutation = Mutation(all_of_them[chosen.first :: chosen.every], out.write)
        _run_tests([*map(_own, chosen.scripts), *TOGETHER], mutation)
    return int(not mutation.is_played or bool(mutation.lived))


def _run_tests(paths: Sequence[str], mutation: Mutation) -> None:
    """Without a word. The draws are always the same, so that it does not hang on chance what is noticed."""
    os.environ.setdefault("TEKNAV_TEST_SEED", "1")
    # A mutant need not be noticed with few steps.
    engine.MAX_SHRINKS = 0
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    options = ["--assert=plain", "-o", "timeout=60", "-p", "no:cacheprovider", "-p", "no:randomly"]
    pytest.main([*options, *paths], plugins=[mutation])


if __name__ == "__main__":
    sys.exit(main())
