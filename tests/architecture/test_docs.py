"""The docs say what the code says."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import typer.main
import yaml

from teknav_ops import errors
from teknav_ops.cli.app import app
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.reports.catalogue import Catalogue
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY

ROOT = Path(__file__).parents[2]


def words(path: str) -> str:
    return (ROOT / path).read_text()


def test_every_setting_is_documented_with_its_default_and_no_other_is() -> None:
    documented = dict(re.findall(r"^\| `(TEKNAV_\w+)` \| (.+?) \|", words("docs/settings.md"), re.M))

    assert set(documented) == {f"TEKNAV_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        shown = "unset" if field.default is None else f"`{field.default}`"
        assert documented[f"TEKNAV_{name.upper()}"] == shown, name


def test_every_command_is_documented_and_no_other_is() -> None:
    documented = set(re.findall(r"^\| `(teknav [^`]+)` \|", words("docs/cli.md"), re.M))

    assert documented == set(_commands(typer.main.get_command(app), "teknav"))


def _commands(command: Any, name: str) -> list[str]:
    children = getattr(command, "commands", {})
    found = [path for child, sub in children.items() for path in _commands(sub, f"{name} {child}")]
    return [*found, name] if getattr(command, "invoke_without_command", False) or not children else found


def test_every_redis_key_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+)(?::<[^`]*>)?` \|", words("docs/redis-keys.md"), re.M))
    keys = QueueKeys("q")
    names = {
        getattr(keys, slot).removeprefix("teknav:{q}:").rstrip(":") for slot in QueueKeys.__slots__ if slot != "queue"
    }

    assert documented == names


def test_every_audit_action_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z.]+\.[a-z_]+)` \|", words("docs/audit-actions.md"), re.M))
    events = set(re.findall(r"^\| `([a-z.]+\.[a-z_]+)` \|", words("docs/events.md"), re.M))
    families = "|".join(sorted({action.partition(".")[0] for action in documented}))
    lua = "\n".join(path.read_text() for path in (ROOT / "teknav_ops/redis_state/lua").glob("*.lua"))
    written = set(re.findall(rf"'((?:{families})\.[a-z_]+)'", lua))
    for path in (ROOT / "teknav_ops").rglob("*.py"):
        written |= {text for text in _spoken_of(path) if re.fullmatch(rf"(?:{families})\.[a-z_]+", text)}

    assert documented <= written
    # A file is no action.
    written = {text for text in written if not text.endswith(".html")}
    # An event that is no action (`plugin.executed`) has its row elsewhere.
    assert written - documented <= events - documented


#: Calls whose texts are no actions: log lines, and columns of other tables.
_OTHER_CALLS = {
    "debug",
    "info",
    "warning",
    "error",
    "exception",
    "critical",
    "ForeignKey",
    "ForeignKeyConstraint",
    "joinpath",
}


def _spoken_of(path: Path) -> set[str]:
    """Every text in a module that could be an action."""
    tree = ast.parse(path.read_text())
    others = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in _OTHER_CALLS
        for node in ast.walk(call)
    }
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in others)
    return {node.value for node in texts if isinstance(node.value, str)}


def test_conda_and_pip_install_the_same_packages() -> None:
    project = tomllib.loads(words("pyproject.toml"))["project"]
    optional = project["optional-dependencies"]
    extras = ("postgresql", "watch", "snapshots", "adbc", "metrics", "telemetry", "lab", "web")
    wanted = project["dependencies"] + [requirement for extra in extras for requirement in optional[extra]]
    names = {re.split(r"[\[<>=; ]", requirement)[0].lower() for requirement in wanted} - {"teknav-ops"}
    # In conda the server is a package, libvips comes with pyvips, and psycopg with its own libpq.
    names = (names - {"pyvips-binary", "redis"}) | {"redis-py", "redis-server", "python", "pip"}
    names = {name.replace("prometheus-client", "prometheus_client") for name in names}
    listed = yaml.safe_load(words("environment.yml"))["dependencies"]
    from_wheels = [name for entry in listed if isinstance(entry, dict) for name in entry["pip"]]
    conda = {re.split(r"[<>= ]", entry)[0] for entry in listed if isinstance(entry, str)}
    conda |= {re.split(r"[<>= ]", entry)[0] for entry in from_wheels}

    assert conda == names


def test_every_error_a_job_may_end_with_has_a_page_in_the_runbook() -> None:
    modules = [f"teknav_ops.platform.{path.stem}" for path in (ROOT / "teknav_ops/platform").glob("*.py")]
    modules += [f"teknav_ops.outbound.{path.stem}" for path in (ROOT / "teknav_ops/outbound").glob("*.py")]
    modules += [f"workers.services.{path.stem}" for path in (ROOT / "workers/services").glob("*.py")]
    modules += [f"workers.{path.stem}" for path in (ROOT / "workers").glob("*.py")] + ["teknav_ops.errors"]
    bases = (errors.PermanentError, errors.TransientError, errors.Throttled)
    names = {
        name
        for module in modules
        for name, found in vars(importlib.import_module(module.removesuffix(".__init__"))).items()
        if inspect.isclass(found) and issubclass(found, bases) and found not in bases
    }
    pages = {path.stem for path in (ROOT / "docs/runbook").glob("*.md")} - {"README"}

    # The last two are not ours to define: Dramatiq's own, and the database's.
    assert pages == names | {"TimeLimitExceeded", "StorageUnavailable"}
    for page in pages:
        text = words(f"docs/runbook/{page}.md")
        assert "**Look.**" in text and "**Do.**" in text
        assert f"[{page}]({page}.md)" in words("docs/runbook/README.md")


def test_each_queues_retries_are_in_the_docs() -> None:
    rows = re.findall(
        r"^\| ([^|]*) \| (\d+) \| ([^|]*) \| ([^|]*) \| (\d+) \| ([^|]*) \|$", words("docs/processors.md"), re.M
    )
    documented = {name: row[1:] for row in rows for name in re.findall(r"`([a-z:]+)`", row[0])}

    def span(ms: float) -> str:
        unit, size = next(pair for pair in (("h", 3.6e6), ("min", 6e4), ("s", 1e3)) if ms >= pair[1])
        return f"{ms / size:.3g} {unit}"

    def all_of(policy: RetryPolicy) -> float:
        return sum(min(policy.max_backoff_ms, policy.min_backoff_ms * 2**n) for n in range(policy.attempts - 1))

    assert documented == {
        queue.name: (
            str(queue.retry.attempts),
            f"{span(queue.retry.min_backoff_ms)} to {span(queue.retry.max_backoff_ms)}",
            span(all_of(queue.retry)),
            str(queue.retry.throttle_limit_count),
            span(queue.retry.throttle_limit_ms),
        )
        for queue in TOPOLOGY.values()
    }


def test_the_threat_model_names_code_that_exists() -> None:
    text = words("SECURITY.md")
    links = re.findall(r"\]\(([^)#]+)\)", text)

    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len([link for link in links if link.endswith(".py")]) > 15
    assert "[Security](SECURITY.md)" in words("README.md")
    for setting in re.findall(r"TEKNAV_\w+", text):
        assert setting.removeprefix("TEKNAV_").lower() in Settings.model_fields, setting


def test_commands_in_the_docs_exist() -> None:
    known = set(_commands(typer.main.get_command(app), "teknav"))
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for command in re.findall(r"`(teknav [a-z][^`]*)`", path.read_text()):
            assert any(command == name or command.startswith(f"{name} ") for name in known), (path.name, command)


def test_the_readmes_commands_exist() -> None:
    readme = words("README.md")
    top_level = set(getattr(typer.main.get_command(app), "commands", {}))
    verbs = set(re.findall(r"^([a-z]+):.*## ", words("Makefile"), re.M))

    assert set(re.findall(r"^make ([a-z]+)", readme, re.M)) <= verbs
    assert set(re.findall(r"(?:^|`)teknav ([a-z-]+)", readme, re.M)) <= top_level


def test_each_notebook_has_a_page_with_its_parameters_and_a_picture() -> None:
    catalogue = Catalogue(ROOT / "ops_notebooks")
    index = (ROOT / "docs" / "notebooks" / "index.md").read_text()
    for report in map(catalogue.get, catalogue.names()):
        page = (ROOT / "docs" / "notebooks" / f"{report.name}.md").read_text()
        rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page, re.M)
        shown = {name: str(parameter.default) or "''" for name, parameter in report.parameters.items()}
        assert dict(rows) == shown, report.name
        picture = ROOT / "docs" / "images" / "notebooks" / f"{report.name}.png"
        assert f"../images/notebooks/{picture.name}" in page and picture.stat().st_size < 200_000
        assert f"| [{report.name}]({report.name}.md) | {report.title} |" in index
