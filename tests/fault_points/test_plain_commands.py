"""The few writes that are no script: what a lost answer makes of them."""

from __future__ import annotations

import pytest

from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.redis_state.connection import Client
from teknav_ops.replays import Replays
from tests.fault_points.cases import Play
from tests.support.state import KEYS, QUEUE
from tests.support.tcp_proxy import FaultProxy, Moment
from tests.support.topology import TOPOLOGY


@pytest.mark.parametrize("moment", Moment)
def test_a_preview_freezes_each_dead_letter_once_though_its_answer_was_lost(
    state: Play, proxy: FaultProxy, lossy: Client, moment: Moment
) -> None:
    for number in range(3):
        state.dead(id=f"job-{number}")
    replays = Replays(lossy, DeadLetterQueries(lossy, TOPOLOGY), TOPOLOGY)
    proxy.arm("EXEC", moment)

    plan = replays.preview(QUEUE, DeadLetterFilter(), limit=100, operator="olga")

    assert proxy.dropped_count == 1
    frozen = state.client.lrange(KEYS.replay_ids(plan.id), 0, -1)
    assert [entry.partition("|")[0] for entry in frozen] == ["job-0", "job-1", "job-2"]
    assert plan.total_count == 3
