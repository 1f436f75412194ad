"""The rules a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from teknav_ops.engine.processor import Processor
from teknav_ops.jobs.states import MOVES
from teknav_ops.redis_state import scripts
from teknav_ops.topology import TOPOLOGY, purpose_of
from workers import PROCESSORS, broker

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "teknav_ops/redis_state/lua").glob("*.lua"))
QUERIES = sorted((ROOT / "teknav_ops").rglob("sql/*.sql"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULES = sorted(path for folder in ("teknav_ops", "workers") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_states_its_contract(path: Path) -> None:
    header, _, body = path.read_text().partition("\n\n")

    named = set(re.findall(r"KEYS\[\d+\]", header))
    assert named == set(re.findall(r"KEYS\[\d+\]", body))
    assert "\n-- Returns " in header
    assert (ROOT / f"tests/redis_state/lua/test_{path.stem}.py").exists()
    assert not re.search(r"'(KEYS|SCAN)'|while ", body), "unbounded work in a script"


def test_each_script_is_loaded_by_one_typed_function_of_its_name_and_nowhere_else() -> None:
    assert sorted(_script_loads()) == [(path.stem, repr(path.stem)) for path in SCRIPTS]
    for path in SCRIPTS:
        function = getattr(scripts, path.stem)
        assert inspect.isfunction(function)
        assert inspect.signature(function).return_annotation.startswith("Call[")
    ways_around = r"\bEVAL(SHA)?\b|\.eval(sha)?\(|register_script|scripts\.load|scripts import .*\bload\b"
    assert [path for path in MODULES if re.search(ways_around, path.read_text())] == [Path(scripts.__file__)]


def _script_loads() -> Iterator[tuple[str, str]]:
    """Each place where a script is loaded: the function around it, and the script."""
    for function in ast.walk(ast.parse(inspect.getsource(scripts))):
        for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load":
                yield function.name, ast.unparse(node.args[0])


def test_each_part_of_scripts_is_explained_and_shared() -> None:
    included = [part for path in SCRIPTS for part in re.findall(r"^--@include (.+)$", path.read_text(), re.M)]

    for path in (ROOT / "teknav_ops/redis_state/lua/parts").glob("*.lua"):
        assert path.read_text().startswith("-- ")
        assert included.count(path.stem) > 1, f"{path.name} is no part of two scripts"


def test_a_full_server_refuses_new_jobs_and_no_other_step() -> None:
    refused = {path.stem for path in SCRIPTS if not path.read_text().startswith("#!lua flags=")}

    assert refused == {"enqueue"}


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_states_its_question(path: Path) -> None:
    question, grain, parameters, *body = path.read_text().splitlines()

    assert question.endswith("?")
    assert grain.startswith("-- Grain: one row per ")
    assert set(re.findall(r":\w+", parameters)) == set(re.findall(r"(?<!:):[a-z]\w*", "\n".join(body)))
    modules = "\n".join(module.read_text() for module in path.parents[1].glob("*.py"))
    assert re.search(rf'^def {path.stem}\(|"{path.stem}"', modules, re.M)


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.job)
def test_a_processor_is_where_its_queue_says_and_survives_a_rerun(processor: object) -> None:
    queue = TOPOLOGY.queue_carrying(processor.job)  # type: ignore[attr-defined]
    stem = re.sub(r"\W", "_", queue.name)

    assert processor.function.__module__ == f"workers.{stem}"  # type: ignore[attr-defined]
    assert processor.payload is queue.jobs[processor.job]  # type: ignore[attr-defined]
    assert "Runs twice safely: " in (inspect.getdoc(processor.function) or "")  # type: ignore[attr-defined]
    tests = ROOT / "tests/workers"
    assert (tests / f"test_{stem}.py").exists() or any((tests / stem).glob("test_*.py"))


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.job)
def test_a_job_runs_with_the_time_limit_of_its_own_queue(processor: Processor) -> None:
    actor = broker.get_actor(processor.job)

    assert actor.options["time_limit"] == TOPOLOGY.queue_carrying(processor.job).time_limit_ms
    others = [other.options for name, other in broker.actors.items() if name != processor.job]
    assert not any(actor.options is options for options in others)


def test_every_queue_and_job_says_what_it_is_for() -> None:
    for queue in TOPOLOGY.values():
        assert queue.purpose.endswith(".")
        assert all(purpose_of(payload).endswith((".", "unpublished.")) for payload in queue.jobs.values())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_documented_and_named_for_what_it_owns(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert ast.get_docstring(tree), "no module docstring"
    assert path.stem not in {"utils", "helpers", "common", "manager", "misc", "base_utils"}
    # `scripts.py` is one short function per Lua file; the first migration is a table per statement.
    assert len(source.splitlines()) <= 260 or path.stem in {"scripts", "0001_first_tables"}
    if "migrations" not in path.parts:
        too_long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno > 50]
        assert not too_long
        undocumented = [
            f.name
            for f in functions
            if not f.name.startswith("_") and not ast.get_docstring(f) and not _is_nested(tree, f)
        ]
        assert not undocumented or "Protocol" in source


def _is_nested(tree: ast.Module, function: ast.AST) -> bool:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    outer = [node for node in ast.walk(tree) if isinstance(node, kinds) and node is not function]
    return any(function in ast.walk(node) for node in outer)


def test_only_settings_read_the_environment_and_only_keys_spell_redis_keys() -> None:
    for path in MODULES:
        source = path.read_text()
        if path.name != "settings.py":
            reads = re.findall(r"os\.environ\[|os\.getenv|os\.environ\.get", source)
            assert not reads, f"{path} reads the environment"
        if path.name != "keys.py":
            spelt = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
                     and isinstance(node.value, str) and node.value.startswith("teknav:")]  # fmt: skip
            assert not spelt, f"{path} spells {spelt}"


def test_the_diagram_of_the_life_of_a_job_draws_exactly_the_table_of_moves() -> None:
    drawn = set(re.findall(r"^ +(\S+) --> (\S+): (.+)$", (ROOT / "docs/job-lifecycle.md").read_text(), re.M))
    table = {
        (before.value if before else "[*]", after.value, ", ".join(names)) for (before, after), names in MOVES.items()
    }

    assert {edge for edge in drawn if edge[1] != "[*]"} == table


def test_no_test_asks_for_the_time_when_it_is_collected() -> None:
    """It may run much later: what was soon is over by then."""
    asks = {"now", "today", "time", "time_ns", "monotonic", "utcnow", "utc_now"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in TESTS
        for node in _run_at_import(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in asks
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "pattern", "places"),
    [
        # A job's work takes time; `sleep(0)` hands a thread's turn to another; a server keeps its client waiting.
        ("sleeps", r"(?<!def )\bsleep\(", {"waiting", "worker_app", "test_parameters", "test_killed"}),
        ("chooses a port", r"127\.0\.0\.1', 0\)|port=0\b", set()),
        ("makes a folder", r"\btempfile\.", {"folders", "leftovers", "soak"}),
    ],
)
def test_only_one_place_in_the_tests(what: str, pattern: str, places: set[str]) -> None:
    found = {path.stem for path in TESTS if re.search(pattern, _code(path))} - {"test_conventions"}

    assert found == places, f"who {what}: `tests/README.md` says what to use instead"


def test_the_map_of_the_tests_names_each_module_of_their_support() -> None:
    named = set(re.findall(r"`(\w+)(?:\.py)?`", (ROOT / "tests/README.md").read_text()))
    support = ROOT / "tests/support"
    modules = {path.stem for path in support.glob("[a-z]*.py")} | {
        path.parent.name for path in support.glob("*/__init__.py")
    }

    assert modules <= named


@functools.cache
def _code(path: Path) -> str:
    """A module without the texts in it: notebooks that tests write may sleep."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            node.value = ""
    return ast.unparse(tree)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but the bodies of functions: also decorators, so parameters, and default values."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, node.args]
        else:
            waiting += [node.args] if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node)
