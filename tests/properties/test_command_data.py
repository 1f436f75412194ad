"""Whatever is typed at the command line, given to a report or asked in a notebook is done, or refused with words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teknav_ops.cli import app as program
from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.parameters import TYPES, Parameter, check_parameters
from teknav_ops.settings import get_settings
from teknav_ops.triage.view_models.dlq_triage import DlqTriageModel
from tests.properties.payloads import examples
from tests.support import strategies as odd
from tests.support.web import Web

#: Command lines with a place for what is typed; nothing that a shell passes holds a null character.
LINES = (
    ["enqueue", "search:index", "index-article", "--data", "{}"],
    ["enqueue", "search:index", "index-article", "--data", '{"article_id": 1}', "--key", "{}"],
    ["enqueue", "search:index", "index-article", "--data", '{"article_id": 1}', "--delay", "{}"],
    ["enqueue", "search:index", "index-article", "--data", '{"article_id": 1}', "--priority", "{}"],
    ["enqueue", "{}", "index-article", "--data", "[]"],
    ["jobs", "show", "{}"],
    ["jobs", "cancel", "search:index", "{}"],
    ["jobs", "list", "search:index", "--text", "{}"],
    ["jobs", "list", "search:index", "--state", "failed", "--since", "{}"],
    ["dlq", "list", "search:index", "--text", "{}"],
    ["dlq", "replay", "search:index", "{}"],
    ["dlq", "purge", "search:index", "--confirm", "{}"],
)  # fmt: skip
TYPED = odd.search_texts.map(lambda text: text.replace("\0", "")) | st.integers().map(str)


@pytest.fixture
def run(site: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The program in this process, on the site's Redis and SQL."""
    settings = site.services.settings
    monkeypatch.setenv("TEKNAV_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("TEKNAV_DATA_DIR", str(settings.data_dir))
    get_settings.cache_clear()

    def command(arguments: list[str]) -> int:
        monkeypatch.setattr("sys.argv", ["teknav", *arguments])
        return program.run()

    yield command
    get_settings.cache_clear()


@examples(80)
@given(line=st.sampled_from(LINES), typed=TYPED)
def test_any_text_at_the_command_line_ends_with_a_code(run: Any, line: list[str], typed: str) -> None:
    code = run([typed if part == "{}" else part for part in line])
    assert code in (0, 1, 2)


@pytest.mark.parametrize("data", ['{"article_id": NaN}', "[" * 100_000, '{"article_id": "\\ud800"}', "@/no/such\udcff"])
def test_data_that_is_not_json_is_refused(run: Any, data: str) -> None:
    assert run(["enqueue", "search:index", "index-article", "--data", data]) == 2


@examples(100)
@given(kind=st.sampled_from(sorted(TYPES)), optional=st.booleans(), value=odd.anything | odd.texts | odd.odd_numbers)
def test_any_report_parameter_is_refused_by_name_or_kept(kind: str, optional: bool, value: Any) -> None:
    known = {"share": Parameter("share", kind, None, optional)}
    try:
        kept = check_parameters("queue_health", known, {"share": value})["share"]
    except InvalidRequest as error:
        assert str(error).startswith("param share: ")
        str(error).encode()
        return
    assert not isinstance(kept, str) or kept.encode() or kept == ""


@examples(60)
@given(error_type=odd.search_texts, fingerprint=odd.search_texts, text=odd.search_texts)
def test_any_filter_in_a_notebook_is_used_or_refused_with_words(
    site: Web, error_type: str, fingerprint: str, text: str
) -> None:
    model = DlqTriageModel(Notebook(site), "search:index")  # type: ignore[arg-type]
    model.param.update(error_type=error_type, fingerprint=fingerprint, text=text)
    model.refresh()
    assert "Error:" not in model.status or not model.is_wrong, model.status


class Notebook:
    """What the view models use of a connected notebook."""

    def __init__(self, site: Web) -> None:
        services = site.services
        self.topology, self.dead_letters, self.jobs = services.topology, services.dead_letters, services.jobs
        self.replays = services.replays
