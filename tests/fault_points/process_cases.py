"""Cases for what other processes send: figures, leadership, events, sessions."""

from __future__ import annotations

from typing import Any, Final

from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.scripts import Call
from tests.fault_points.cases import FAR_FUTURE_MS, JOB, CaseList, Play, held
from tests.support.state import KEYS

CASES: Final = CaseList()


@CASES.add("queue_counts")
def _(state: Play) -> Call[Any]:
    held(state)
    return scripts.queue_counts(KEYS, heartbeat_ms=30_000)


@CASES.add("list_after")
def _(state: Play) -> Call[Any]:
    held(state)
    return scripts.list_after(
        KEYS.active, KEYS.job_family, newest_first=False, between=("-inf", "+inf"), after=None, count=5, fields=["name"]
    )


@CASES.add("list_waiting")
def _(state: Play) -> Call[Any]:
    state.enqueue(id=JOB)
    return scripts.list_waiting(KEYS, after=None, count=5, fields=["name"])


@CASES.add("audit_lag")
def _(state: Play) -> Call[Any]:
    held(state)
    return scripts.audit_lag(KEYS)


@CASES.add("server_memory")
def _(state: Play) -> Call[Any]:
    return scripts.server_memory(KEYS)


@CASES.add("put_newest")
def _(state: Play) -> Call[Any]:
    return scripts.put_newest(keys.dashboard(7), made_at_ms=1, ttl_ms=60_000, json_text="{}")


@CASES.add("replace_fields")
def _(state: Play) -> Call[Any]:
    state.client.hset(keys.ALERTS_OPEN, mapping={"old": "1", "kept": "1"})
    return scripts.replace_fields(keys.ALERTS_OPEN, written={"new": "1"}, dropped=["old"])


@CASES.add("publish_stats")
def _(state: Play) -> Call[Any]:
    json_text = '{"term": 2, "publisher": "s:1", "lastUpdatedAt": 1}'
    return scripts.publish_stats(
        KEYS.queue, term=2, publisher="s:1", fresh_ms=20_000, expires_at_ms=FAR_FUTURE_MS, json_text=json_text
    )


@CASES.add("lead")
def _(state: Play) -> Call[Any]:
    return scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="renew")


@CASES.add("lead: released")
def _(state: Play) -> Call[Any]:
    state.run(scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="renew"))
    return scripts.lead("scheduler", holder="s:1", lease_ms=10_000, wish="release")


@CASES.add("relay_events")
def _(state: Play) -> Call[Any]:
    return scripts.relay_events(KEYS.queue, from_id="", to_id="5-0", kept=10_000, events=['{"type":"job"}'])


@CASES.add("relay_events: read from no audit stream")
def _(state: Play) -> Call[Any]:
    return scripts.relay_events("", from_id="", to_id="", kept=10_000, events=['{"type":"stats"}'])


@CASES.add("open_session")
def _(state: Play) -> Call[Any]:
    return scripts.open_session(
        keys.session("s1"), idle_ms=60_000, longest_ms=600_000, fields={"name": "olga", "role": "OWNER"}
    )


@CASES.add("list_session")
def _(state: Play) -> Call[Any]:
    listed = keys.user_sessions("olga")
    for number in range(2):
        call = scripts.list_session(
            listed, session_id=f"old-{number}", longest_ms=60_000 + number, kept_ms=600_000, most=2
        )
        state.run(call)
    return scripts.list_session(listed, session_id="new", longest_ms=600_000, kept_ms=600_000, most=2)


@CASES.add("put_text")
def _(state: Play) -> Call[Any]:
    return scripts.put_text(keys.worker("w:1"), text="{}", ttl_ms=60_000)


@CASES.add("use_session")
def _(state: Play) -> Call[Any]:
    state.run(scripts.open_session(keys.session("s1"), idle_ms=60_000, longest_ms=600_000, fields={"name": "olga"}))
    state.client.hset(keys.session("s1"), "seen_at_ms", 1)
    return scripts.use_session(keys.session("s1"), idle_ms=60_000, is_use=True, coarse_ms=0)


@CASES.add("mark_session")
def _(state: Play) -> Call[Any]:
    state.run(scripts.open_session(keys.session("s1"), idle_ms=60_000, longest_ms=600_000, fields={"name": "olga"}))
    return scripts.mark_session(keys.session("s1"), now_field="proved_at_ms", fields={"epoch": 2})


def attempt_call(wish: Any) -> Call[Any]:
    return scripts.sign_in_attempt(
        keys.sign_in_attempts("user", "olga"), wish=wish, free_count=3, delay_ms=1_000, longest_ms=60_000,
        memory_ms=3_600_000,
    )  # fmt: skip


@CASES.add("sign_in_attempt")
def _(state: Play) -> Call[Any]:
    return attempt_call("begin")


@CASES.add("sign_in_attempt: refunded")
def _(state: Play) -> Call[Any]:
    state.run(attempt_call("begin"))
    state.run(attempt_call("begin"))
    return attempt_call("refund")


@CASES.add("sign_in_attempt: forgotten")
def _(state: Play) -> Call[Any]:
    state.run(attempt_call("begin"))
    return attempt_call("forget")


def quota_call(count: int) -> Call[Any]:
    return scripts.take_quota(keys.token_quota(7), count=count, limit=5, window_seconds=60)


@CASES.add("take_quota")
def _(state: Play) -> Call[Any]:
    return quota_call(1)


@CASES.add("take_quota: the last of a minute")
def _(state: Play) -> Call[Any]:
    state.run(quota_call(4))
    return quota_call(1)
