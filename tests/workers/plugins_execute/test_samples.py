"""plugins:execute: the plugins that come as samples."""

from __future__ import annotations

import json
from typing import Any

import pytest
import wasmtime

from teknav_ops.storage.tables import Article
from tests.workers.plugins_execute.conftest import SAMPLES, Bench, install_sample
from workers.services.plugin_run import (
    PluginOutOfFuel,
    PluginOutOfMemory,
)


@pytest.mark.parametrize(
    ("text", "words", "minutes"),
    [("", 0, 0), ("one", 1, 1), ("سلام دنیا\nمی‌نویسیم", 3, 1), ('a "b" c\\d\te', 4, 1), ("w " * 401, 401, 3)],
)
def test_the_sample_in_wat_counts_words(bench: Bench, text: str, words: int, minutes: int) -> None:
    install_sample(bench, "reading-time")
    assert bench.run(plugin="reading-time", text=text)["output"] == {"words": words, "minutes": minutes}


def test_the_samples_module_is_what_its_source_gives() -> None:
    folder = SAMPLES / "reading-time"
    assert bytes(wasmtime.wat2wasm((folder / "plugin.wat").read_text())) == (folder / "plugin.wasm").read_bytes()


@pytest.mark.each_database
def test_the_sample_in_rust_reads_an_article_and_remembers(bench: Bench) -> None:
    with bench.services.database.session() as session:
        words = {"title": "صف", "body": 'صف نامه‌ها و صفِ «کار»، a Queue.\n"صف"', "author": "T", "tags": []}
        session.add(Article(id=7, slug="a", language="fa", status="published", **words))
    install_sample(bench, "term-counter")
    asked = {"article_id": 7, "terms": ["صف", "queue", "نیست"]}

    first = bench.run("job-1", plugin="term-counter", **asked)
    assert first["output"] == {"article_id": 7, "counts": {"صف": 3, "queue": 1, "نیست": 0}, "asked": 1}
    assert bench.run("job-1", plugin="term-counter", **asked) == first
    assert bench.run("job-2", plugin="term-counter", **asked)["output"]["asked"] == 2
    assert bench.kv() == {"asked:7": "2"}
    entry = bench.log()[0]
    assert (entry.status, entry.host_calls) == ("succeeded", {"article_read": 1, "kv_get": 1, "kv_set": 1, "log": 1})
    assert entry.log_lines == [{"level": "info", "text": "counted 3 terms in article 7"}]
    assert entry.fuel_used and entry.memory_bytes and entry.duration_ms
    assert bench.run(plugin="term-counter", article_id=9, terms=[])["output"] == {"error": "there is no article 9"}


@pytest.mark.parametrize(("slug", "error"), [("runaway", PluginOutOfFuel), ("glutton", PluginOutOfMemory)])
def test_the_samples_that_misbehave_are_stopped(bench: Bench, slug: str, error: Any) -> None:
    folder = SAMPLES / slug
    manifest = json.loads((folder / "manifest.json").read_text())
    bench.control.plugins.install((folder / "plugin.wat").read_bytes(), manifest)
    with pytest.raises(error):
        bench.run(plugin=slug)
