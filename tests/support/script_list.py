"""The typed script calls, as the code itself lists them."""

from __future__ import annotations

import functools
import inspect
import re

from teknav_ops.redis_state import scripts


@functools.cache
def typed_scripts() -> frozenset[str]:
    """The names of all functions of `scripts` that build a Call."""
    functions = inspect.getmembers(scripts, inspect.isfunction)
    return frozenset(
        name
        for name, function in functions
        if function.__module__ == scripts.__name__
        and str(function.__annotations__.get("return", "")).startswith("Call[")
    )


@functools.cache
def scripts_that_change_a_job() -> frozenset[str]:
    """Those whose header names a job's record as a key, and that may write."""
    return frozenset(
        name
        for name in typed_scripts()
        if re.search(r"^-- KEYS\[\d+\] +job( family)? +hash", scripts.load(name).source, re.M)
        and "flags=no-writes" not in scripts.load(name).source
    )


def missing_cases(cases: set[str], wanted: frozenset[str], where: str) -> str:
    """What is wrong with a list of cases, in words; '' when it names each script."""
    words = [f"{name}: a script without a case in {where}; add one" for name in sorted(wanted - cases)]
    words += [f"{name}: a case in {where} for a script that is no more; remove it" for name in sorted(cases - wanted)]
    return "\n".join(words)
