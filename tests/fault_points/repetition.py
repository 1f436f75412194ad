"""What a second send of the same call may do: the one list of exceptions, each with its reason.

A client sends a call again when its answer was lost, so a script's second run must change nothing. Where it does,
or where it answers something else than the first did, this says why that keeps the promises.
"""

from __future__ import annotations

from typing import Final

#: Case -> (families of keys that the second run may change, why that is no harm).
CHANGES_MORE: Final[dict[str, tuple[frozenset[str], str]]] = {
    "fetch: more jobs wait than are asked for": (
        frozenset({"waiting", "active", "job:"}),
        "hands out the next jobs; those of the lost answer come back when their lease ends",
    ),
    "fetch: under a rate limit": (
        frozenset({"waiting", "active", "job:", "handed-out"}),
        "hands out the next jobs; those of the lost answer have used up their part of the rate",
    ),
    "fetch: a job of another priority is left": (
        frozenset({"prioritized", "active", "job:"}),
        "hands out the next job; that of the lost answer comes back when its lease ends",
    ),
    "flush: more jobs wait than it takes at once": (
        frozenset({"waiting", "job:", "audit"}),
        "drops the next jobs; the caller goes on until none is left",
    ),
    "relay_events: read from no audit stream": (
        frozenset({"stream"}),
        "a queue's new figures are told twice; they say the same",
    ),
    "sign_in_attempt": (
        frozenset({"sign-in-attempts:"}),
        "counts a second failed attempt: the next delay comes an attempt early, never late",
    ),
    "sign_in_attempt: refunded": (
        frozenset({"sign-in-attempts:"}),
        "takes back a second failed attempt: its address has one more before the next delay",
    ),
    "take_quota": (
        frozenset({"token-quota:"}),
        "counts the same jobs twice: the token may make fewer in this minute, never more",
    ),
}

#: Case -> what the second answer says instead, and what its caller makes of it.
ANSWERS_OTHERWISE: Final[dict[str, str]] = {
    "take_quota: the last of a minute": "how long to wait: the token is told to come back, and nothing was made",
    "fetch": "no job: the first answer's job stays active until its lease ends",
    "fetch: more jobs wait than are asked for": "the next job",
    "fetch: under a rate limit": "the next job",
    "fetch: a job of another priority is left": "the next job",
    "fetch: a delayed job with a priority is due": "no job: the first answer's job stays active until its lease ends",
    "complete": "2, done before: a success to the finisher",
    "complete: a group of which one job has gone to another worker": "2 for those it had done, 0 for the stale one",
    "postpone": "2, done before: a success to the finisher",
    "postpone: a snooze": "2, done before: a success to the finisher",
    "dead_letter": "2, done before: a success to the finisher",
    "reclaim": "0 jobs: only a log line is lost",
    "reclaim: a job that has cost too many workers their life": "none: it is handed out to be given up a lease later",
    "note_started": "0 jobs noted: nobody asks",
    "note_stuck": "0, noted before: nobody asks",
    "release": "0 jobs: nobody asks",
    "ring": "there was a token: nobody asks",
    "ring: for one process": "there was a token: nobody asks",
    "cancel": "'already cancelled': the operator is told so",
    "promote": "'waiting': the operator is told so",
    "replay_dead_letters": "0: the operator is told that the job is waiting",
    "replay_dead_letters: as part of a batch replay": "-1: the runner reads how far the batch has come, and goes on",
    "move_replay": "nothing was changed: the operator is told that it runs",
    "move_replay: finished by its runner": "nothing was changed: the runner reads the state",
    "move_replay: aborted": "nothing was changed: the operator is told that it is aborted",
    "delete_dead_letters": "0: the operator is told that there is no such letter",
    "delete_dead_letters: as part of a batch deletion": "0: the deletion's record says how many there were",
    "set_control": "nothing was changed: the operator is told that it was so already",
    "set_control: back to the topology's value": "nothing was changed: the operator is told that it was so already",
    "flush": "0: nothing is left",
    "relay_events": "the cursor on record: the relay goes on from there",
    "relay_events: read from no audit stream": "the second event's id",
    "use_session": "the last use as the first run wrote it: nobody reads it",
}
