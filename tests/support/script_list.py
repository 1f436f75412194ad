"""The typed script calls, as the code itself lists them."""

from __future__ import annotations

import functools
import re
from importlib import resources

from teknav_ops.redis_state import scripts


@functools.cache
def typed_scripts() -> frozenset[str]:
    """The names of all scripts: one Lua file each, and one function of `scripts` of its name that builds a Call.

    `tests/architecture/test_conventions.py` holds that neither is without the other.
    """
    folder = resources.files("teknav_ops.redis_state").joinpath("lua")
    return frozenset(path.name.removesuffix(".lua") for path in folder.iterdir() if path.name.endswith(".lua"))


def scripts_that_write() -> frozenset[str]:
    """Those that the server lets change something."""
    return frozenset(name for name in typed_scripts() if "flags=no-writes" not in scripts.load(name).source)


@functools.cache
def scripts_that_change_a_job() -> frozenset[str]:
    """Those whose header names a job's record as a key, and that may write."""
    return frozenset(
        name
        for name in scripts_that_write()
        if re.search(r"^-- KEYS\[\d+\] +job( family)? +hash", scripts.load(name).source, re.M)
    )


def missing_cases(cases: set[str], wanted: frozenset[str], where: str) -> str:
    """What is wrong with a list of cases, in words; '' when it names each script."""
    words = [f"{name}: a script without a case in {where}; add one" for name in sorted(wanted - cases)]
    words += [f"{name}: a case in {where} for a script that is no more; remove it" for name in sorted(cases - wanted)]
    return "\n".join(words)
