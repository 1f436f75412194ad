"""docs/events.md says what the models say, and the models hold what the doc promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from teknav_ops.events.models import EVENTS, BrokenJob, FinishedJob, JobCompleted, QueuePaused, from_json, to_json

DOC = (Path(__file__).parents[2] / "docs/events.md").read_text()


def test_every_event_and_every_field_is_documented_and_no_other_is() -> None:
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.+?) \| ", DOC, re.M)
    documented = {kind: set(re.findall(r"`(\w+)`", re.sub(r"\(.*\)", "", fields))) for kind, fields in rows}
    common = {"v", "type", "id", "atMs"}

    assert documented == {
        kind: {field.alias for field in model.model_fields.values()} - common for kind, model in EVENTS.items()
    }
    assert common <= set(re.findall(r"`(\w+)`", DOC.split("Every event also has")[1].split(".")[0]))


@pytest.mark.parametrize(("kind", "sample"), [("job.completed", FinishedJob), ("job.failed", BrokenJob)])
def test_the_fields_of_a_sampled_job_are_documented(kind: str, sample: type[FinishedJob | BrokenJob]) -> None:
    (described,) = re.findall(rf"^\| `{kind}` \| .*`jobs` \((.+?)\)", DOC, re.M)

    assert re.findall(r"`(\w+)`", described) == [field.alias for field in sample.model_fields.values()]


def test_an_event_is_read_as_it_was_written() -> None:
    event = JobCompleted(at_ms=5, queue="q", count=2, jobs=(FinishedJob(job_id="a", job="work", duration_ms=1.5),))

    assert from_json(to_json(event)) == event
    assert from_json(to_json(event), event_id="7-0") == event.model_copy(update={"id": "7-0"})
    assert '"id"' not in to_json(QueuePaused(at_ms=1, queue="q", actor="sara"))


def test_every_model_is_version_one_and_frozen() -> None:
    for kind, model in EVENTS.items():
        assert get_args(model.model_fields["type"].annotation) == (kind,)
        assert model.model_fields["v"].default == 1 and model.model_config["frozen"]
