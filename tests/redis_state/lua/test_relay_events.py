"""relay_events.lua"""

from __future__ import annotations

import json

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import EVENTS_CHANNEL, EVENTS_CURSORS, EVENTS_STREAM
from tests.support.engine import dump
from tests.support.state import QUEUE, State


def relay(state: State, from_id: str, to_id: str, *events: str, queue: str = QUEUE) -> scripts.Relayed:
    return state.run(scripts.relay_events(queue, from_id=from_id, to_id=to_id, kept=1_000, events=events))


def test_tells_events_on_stream_and_channel_and_moves_the_cursor(state: State) -> None:
    listener = state.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(EVENTS_CHANNEL)
    listener.get_message(timeout=45)

    told = relay(state, "", "5-0", '{"type":"a"}', '{"type":"b"}')

    assert told.is_told and len(told.ids) == 2
    assert state.client.xrange(EVENTS_STREAM) == [
        (told.ids[0], {"event": '{"type":"a"}'}), (told.ids[1], {"event": '{"type":"b"}'}),
    ]  # fmt: skip
    assert state.client.hgetall(EVENTS_CURSORS) == {QUEUE: "5-0"}
    heard = [json.loads((listener.get_message(timeout=45) or {})["data"]) for _ in range(2)]
    assert heard == [{"id": told.ids[0], "type": "a"}, {"id": told.ids[1], "type": "b"}]
    listener.close()


def test_a_relay_that_was_overtaken_writes_nothing_and_learns_the_cursor(state: State) -> None:
    relay(state, "", "5-0", "{}")
    before = dump(state.client)

    assert relay(state, "", "5-0", "{}") == scripts.Relayed(False, cursor="5-0")
    assert relay(state, "4-0", "6-0", "{}") == scripts.Relayed(False, cursor="5-0")
    assert dump(state.client) == before


def test_a_cursor_may_move_without_events_and_events_may_come_without_a_cursor(state: State) -> None:
    assert relay(state, "", "5-0") == scripts.Relayed(True)
    assert len(relay(state, "", "", '{"type":"stats.updated"}', queue="").ids) == 1

    assert state.client.hgetall(EVENTS_CURSORS) == {QUEUE: "5-0"}
    assert state.client.xlen(EVENTS_STREAM) == 1


def test_the_stream_is_capped(state: State) -> None:
    for number in range(30):
        events = ["{}"] * 100
        call = scripts.relay_events(QUEUE, from_id=str(number or ""), to_id=str(number + 1), kept=500, events=events)
        assert state.run(call).is_told

    # Whole nodes of the stream are dropped at a time, so it may hold some more.
    assert 500 <= state.client.xlen(EVENTS_STREAM) <= 700
