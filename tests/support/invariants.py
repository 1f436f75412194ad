"""What holds of a queue at any moment, whoever died and whatever was lost."""

from __future__ import annotations

from collections import Counter

from teknav_ops.jobs.states import MOVES, JobState
from teknav_ops.redis_state.keys import (
    ALERTS_OPEN,
    ALERTS_SINCE,
    EVENTS_CURSORS,
    EVENTS_STREAM,
    REPORTS_CAME,
    REPORTS_KNOWN,
    QueueKeys,
    lease_term,
)
from tests.support.queue_dump import QueueDump

#: The structures that may hold a job of each state.
PLACES = {
    "waiting": ("waiting", "prioritized"),
    "active": ("active",),
    "delayed": ("delayed",),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}
_ALL_PLACES = tuple(place for places in PLACES.values() for place in places)
#: Keys outside the queues that stay for ever: their number does not grow.
_SINGLE_KEYS = {
    EVENTS_STREAM,
    EVENTS_CURSORS,
    ALERTS_SINCE,
    ALERTS_OPEN,
    REPORTS_CAME,
    REPORTS_KNOWN,
    lease_term("scheduler"),
}
#: The counter that goes with an audit entry; None counts jobs of any name.
_COUNTED = {
    "job.completed": "completed", "job.failed": "failed", "job.retried": "retried", "job.snoozed": "snoozed",
    "job.lost": "lost",
}  # fmt: skip
#: Counters that the minutes keep too.
_BY_MINUTE = ("enqueued", "completed", "failed", "retried")


def state_of(queue: QueueDump, job_id: str) -> str | None:
    """What a job's record says of its state; None without a record."""
    return queue.hashes(queue.keys.job(job_id)).get("state")


def _place(queue: QueueDump, name: str) -> list[str]:
    """The ids in one of the queue's structures, each as often as it is there."""
    return list(queue.content.get(getattr(queue.keys, name), ()))


def broken_promises(queue: QueueDump) -> list[str]:
    """What does not hold, in words; nothing in a healthy queue."""
    return [*_places(queue), *_dead_letters(queue), *_counters(queue), *unowned_keys(queue), *_wake_list(queue)]


def _places(queue: QueueDump) -> list[str]:
    jobs = queue.jobs()
    found: dict[str, list[str]] = {job_id: [] for job_id in jobs}
    for place in _ALL_PLACES:
        for job_id in _place(queue, place):
            found.setdefault(job_id, []).append(place)
    letters = _place(queue, "dlq")
    words = []
    for job_id, places in found.items():
        state = jobs.get(job_id, {}).get("state")
        is_kept_for_its_letter = state == "failed" and not places and job_id in letters
        if not is_kept_for_its_letter and (len(places) != 1 or places[0] not in PLACES.get(state or "", ())):
            words.append(f"job {job_id} is {state} on its record and stands in {places}")
    return words


def _dead_letters(queue: QueueDump) -> list[str]:
    keys, words = queue.keys, []
    letters = set(_place(queue, "dlq"))
    records = queue.family(keys.dlq_record_family)
    if records.keys() != letters:
        words.append(f"dead letters {letters} have the records {set(records)}")
    words += [f"dead letter {job_id} of a job {state_of(queue, job_id)}" for job_id in letters
              if state_of(queue, job_id) != "failed"]  # fmt: skip
    groups: Counter[str] = Counter()
    for record in records.values():
        groups[f"{record['errorType']}|{record['fingerprint']}"] += 1
    for index in (keys.dlq_type_family, keys.dlq_fingerprint_family):
        filed = Counter(job_id for ids in queue.family(index).values() for job_id in ids)
        if filed != Counter(letters):
            words.append(f"dead letters {letters} are filed as {filed} under {index}")
    counted = {group: int(count) for group, count in queue.hashes(keys.dlq_groups).items()}
    if counted != dict(groups):
        words.append(f"dlq-groups says {counted}, there are {dict(groups)}")
    return words


def _counters(queue: QueueDump) -> list[str]:
    entries = Counter((entry["action"], entry.get("job_name", "")) for entry in queue.audit())
    expected: Counter[str] = Counter()
    for (action, name), count in entries.items():
        if action == "job.enqueued":
            expected["enqueued"] += count
        elif action in _COUNTED:
            expected[f"{name}|{_COUNTED[action]}"] += count
    totals = _numbers(queue.hashes(queue.keys.totals))
    minutes: Counter[str] = Counter()
    for counters in queue.family(queue.keys.minute_family).values():
        minutes.update(_numbers(counters))
    words = []
    if _outcomes(totals) != dict(expected):
        words.append(f"totals say {_outcomes(totals)}, the audit entries {dict(expected)}")
    in_minutes = {field: n for field, n in expected.items() if field.rpartition("|")[2] in _BY_MINUTE}
    if _outcomes(minutes) != in_minutes:
        words.append(f"minutes say {_outcomes(minutes)}, the audit entries {in_minutes}")
    return words


def _numbers(fields: dict[str, str]) -> dict[str, int]:
    return {field: int(value) for field, value in fields.items()}


def _outcomes(counters: dict[str, int]) -> dict[str, int]:
    wanted = (*_BY_MINUTE, "snoozed", "lost")
    return {field: n for field, n in counters.items() if field.rpartition("|")[2] in wanted}


def unowned_keys(queue: QueueDump) -> list[str]:
    """Keys that stay for ever with nothing that will take them away."""
    keys = queue.keys
    letters = set(_place(queue, "dlq"))
    jobs = (
        {job_id for place in _ALL_PLACES for job_id in _place(queue, place)} | letters | set(_place(queue, "corrupt"))
    )
    owned = {keys.job(job_id) for job_id in jobs} | {keys.dlq_record(job_id) for job_id in letters}
    single = {getattr(keys, name) for name in QueueKeys.__slots__ if not name.endswith(("_family", "queue"))}
    # Zsets that go with their last member.
    indexes = (keys.dlq_type_family, keys.dlq_fingerprint_family)
    return [
        f"{key} has neither a TTL nor an owner"
        for key in queue.content.keys() - queue.ends_at_ms.keys() - owned - single - _SINGLE_KEYS
        if not key.startswith(indexes)
    ]


def _wake_list(queue: QueueDump) -> list[str]:
    tokens = _place(queue, "wake")
    return [] if tokens in ([], ["1"]) else [f"the wake list holds {tokens}"]


#: What each script writes into the audit trail of a job that it moves; the rest move jobs without an entry.
_ENTRIES = {
    "enqueue": ["job.enqueued"],
    "complete": ["job.completed"],
    "dead_letter": ["job.failed", "dlq.added"],
    "reclaim": ["job.lost"],
    "replay_dead_letters": ["job.replayed"],
    "cancel": ["job.cancelled"],
    "promote": ["job.promoted"],
    "flush": ["job.dropped"],
    "delete_dead_letters": ["dlq.deleted"],
}


#: Scripts that write into a record without moving its job, and the state in which they may.
_NOTED = {("active", name) for name in ("mark_started", "note_started", "note_stuck", "report_progress", "reclaim")}
#: It writes a job's payload in another form, whatever the job's state.
_NOTED |= {(state.value, "reseal") for state in JobState}


def illegal_moves(script: str, before: QueueDump, after: QueueDump) -> list[str]:
    """What one run of a script did to jobs, or wrote of them, that the table of moves does not allow."""
    words: list[str] = []
    entries = after.audit()[len(before.audit()) :]
    if after.audit()[: len(before.audit())] != before.audit():
        words.append("an audit entry was changed or taken away")
    for job_id in before.jobs().keys() | after.jobs().keys():
        was, now = state_of(before, job_id), state_of(after, job_id)
        told = [entry["action"] for entry in entries if entry.get("job_id") == job_id]
        if was != now and not _is_allowed(script, was, now):
            words.append(f"{script} moved a job from {was} to {now}")
        if was == now and _has_changed(before, after, job_id) and (was, script) not in _NOTED:
            words.append(f"{script} changed the record of a job that is {was}")
        if told not in _expected_entries(script, was, now, before, after, job_id):
            words.append(f"{script} moved a job from {was} to {now} and told {told}")
    return words


def _has_changed(before: QueueDump, after: QueueDump, job_id: str) -> bool:
    key = before.keys.job(job_id)
    return before.hashes(key) != after.hashes(key)


def _is_allowed(script: str, was: str | None, now: str | None) -> bool:
    if now is None:
        # flush drops the job; a failed job whose history ran out goes with its letter.
        return (script, was) in (("flush", "waiting"), ("flush", "delayed"), ("delete_dead_letters", "failed"))
    moves = {(before, after) for (before, after), names in MOVES.items() if script in names}
    reached = {JobState(was) if was else None}
    while more := {after for before, after in moves if before in reached} - reached:
        reached |= more
    return now in reached


def _expected_entries(
    script: str, was: str | None, now: str | None, before: QueueDump, after: QueueDump, job_id: str
) -> list[list[str]]:
    if script == "postpone":
        return [["job.retried"], ["job.snoozed"]] if was != now else [[]]
    if script in ("note_started", "note_stuck"):
        field, action = ("noted", "job.started") if script == "note_started" else ("stuck", "job.stuck")
        noted = [queue.hashes(queue.keys.job(job_id)).get(f"{field}_delivery") for queue in (before, after)]
        return [[action]] if noted[0] != noted[1] else [[]]
    if script == "delete_dead_letters":
        gone = job_id in _place(before, "dlq") and job_id not in _place(after, "dlq")
        return [_ENTRIES[script]] if gone else [[]]
    if script == "reclaim":
        # One that is handed to the caller to be given up stays active, under a new delivery.
        lost = [queue.hashes(queue.keys.job(job_id)).get("delivery") for queue in (before, after)]
        return [_ENTRIES[script]] if was != now or lost[0] != lost[1] else [[]]
    return [_ENTRIES.get(script, [])] if was != now else [[]]


def missing_wake(script: str, before: QueueDump, after: QueueDump) -> list[str]:
    """A job that may begin, or is due earlier than any consumer knows, with nobody told; the token was taken before."""
    is_there = bool(_place(after, "wake"))
    waiting_before, waiting = (_waiting(queue) for queue in (before, after))
    if script == "fetch":
        handed = set(_place(after, "active")) - set(_place(before, "active"))
        return [] if is_there or not waiting or not handed else ["jobs are left, and no other worker is told"]
    later = set(_place(after, "delayed")) - set(_place(before, "delayed"))
    if (waiting - waiting_before or later) and not is_there:
        return [f"{script} made a job ready, or due, and told no worker"]
    return []


def _waiting(queue: QueueDump) -> set[str]:
    return {*_place(queue, "waiting"), *_place(queue, "prioritized")}
