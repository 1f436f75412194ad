"""The benchmark of what recording costs takes out of the scripts what it says, and no more."""

from __future__ import annotations

import pytest

from benchmarks.recording import RECORDING, without_recording
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Script
from tests.support.state import KEYS, State


@pytest.mark.parametrize("name", RECORDING)
def test_the_benchmark_knows_how_scripts_record(name: str) -> None:
    source = scripts.load(name).source

    bare = without_recording(source)

    assert "XADD" in source and "sum_us" in source
    assert "XADD" not in bare and "sum_us" not in bare and "waited_ms'," not in bare.partition("\nlocal now")[2]


def test_a_script_without_its_recording_still_completes_jobs(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    source = without_recording(scripts.load("complete").source)
    bare = Script("complete", source, "0" * 40)
    job_id = state.enqueue()
    (delivery,) = state.fetch()
    load = scripts.load
    monkeypatch.setattr(scripts, "load", lambda name: bare if name == "complete" else load(name))

    assert state.complete(delivery) == [1]

    assert state.job(job_id)["state"] == "completed"
    assert state.actions() == ["job.enqueued"]
    (minute,) = state.client.keys(KEYS.minute_family + "*")
    assert state.client.hgetall(minute) == {"enqueued": "1", "work|completed": "1"}
