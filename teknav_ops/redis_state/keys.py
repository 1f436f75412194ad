"""The only place that spells Redis keys.

All keys of a queue carry the hash tag `{<queue>}`, so each script touches one cluster slot. A
*family* is the common beginning of keys that are completed with an id; scripts receive a
family as a key, since the ids are only known inside.
"""

from __future__ import annotations

from typing import Final

#: In `prioritized` a priority's scores begin at so many times it (fetch.lua).
PRIORITY_STEP: Final = 2**40

#: Channel on which the relay tells what happened.
EVENTS_CHANNEL: Final = "teknav:owner:queue:events"
#: STREAM: the same events, newest kept, so that a client can go on from an id.
EVENTS_STREAM: Final = "teknav:{owner-events}:stream"
#: HASH queue -> id of the last audit entry that has been told.
EVENTS_CURSORS: Final = "teknav:{owner-events}:cursors"

#: HASH `<rule>|<queue>` -> `firing <ms>` or `clear <ms>`: since when an alert's condition has held, or not.
ALERTS_SINCE: Final = "teknav:{alerts}:since"
#: HASH `<rule>|<queue>` -> JSON: alerts that are open, also those that SQL could not yet be told of.
ALERTS_OPEN: Final = "teknav:{alerts}:open"

#: STRING, JSON: the last jump of the server's clock that somebody saw (jump_ms, at_ms); kept for a day.
CLOCK_JUMP: Final = "teknav:{alerts}:clock-jump"

#: STRING, JSON: the newest link of the audit trail's chain that was seen (number, hash), and since when it is kept.
AUDIT_ANCHOR: Final = "teknav:{audit}:anchor"
#: STRING, JSON: what the scheduler's verification of the audit trail found last, and how far it has come.
AUDIT_WATCH: Final = "teknav:{audit}:watch"

#: HASH key of a report's schedule -> when it last came (ms), or was first heard of.
REPORTS_CAME: Final = "teknav:{reports}:came"
REPORTS_KNOWN: Final = "teknav:{reports}:known"


def report_claim(schedule: str, due_ms: int) -> str:
    """STRING: who runs a scheduled report that was due at a moment, or `done`."""
    return f"teknav:{{reports}}:claim:{schedule}:{due_ms}"


def stats(queue: str) -> str:
    """STRING: the queue's live metrics as JSON, written every 10 s."""
    return f"teknav:queue:{queue}:stats"


def lease(role: str) -> str:
    """STRING: which process leads in a role (one scheduler at a time)."""
    return f"teknav:lease:{{{role}}}"


#: STRING: `teknav up` is starting its processes; goes by itself after a minute.
STARTING: Final = "teknav:starting"


def lease_term(role: str) -> str:
    """STRING: how often the role was taken. What a leader writes carries its term, so that one who was overtaken
    while it slept cannot overwrite its successor's."""
    return f"teknav:lease:{{{role}}}:term"


def worker(worker_id: str) -> str:
    """STRING: what a worker process says of itself while it lives, as JSON (started_at_ms, thread_count, key_ids)."""
    return f"teknav:worker:{worker_id}"


def dashboard(days: int) -> str:
    """HASH: the platform's dashboard over so many days, computed in advance (made_at_ms, json)."""
    return f"teknav:dashboard:{days}"


def session(session_id: str) -> str:
    """HASH: one signed-in browser. The id is the SHA-256 of its cookie, so who reads Redis cannot sign in with it."""
    return f"teknav:session:{session_id}"


def user_sessions(name_key: str) -> str:
    """ZSET of a user's session ids; score: when each ends at the latest, ms."""
    return f"teknav:user-sessions:{name_key}"


def sign_in_attempts(kind: str, subject: str) -> str:
    """HASH: failed sign-ins (failures, open_at_ms) of one user name or one address, whose digest is the subject."""
    return f"teknav:sign-in-attempts:{kind}:{subject}"


def sign_in_link(link_id: str) -> str:
    """STRING: what a one-time link is for; the id is the SHA-256 of the link's secret."""
    return f"teknav:sign-in-link:{link_id}"


def sign_in_challenge(challenge_id: str) -> str:
    """STRING: whose password was right, between the two steps of signing in; the id is the challenge's SHA-256."""
    return f"teknav:sign-in-challenge:{challenge_id}"


def sign_on_state(state_id: str) -> str:
    """STRING: a sign-on under way at the OpenID provider, as JSON."""
    return f"teknav:sign-on-state:{state_id}"


def token_quota(token_id: int) -> str:
    """HASH second -> how many jobs a producer's token made in it, over the last minute."""
    return f"teknav:token-quota:{token_id}"


def refusals(subject: str, minute: int) -> str:
    """STRING: how often somebody was refused in a minute, so that refusals cannot fill AuditLog."""
    return f"teknav:refusals:{subject}:{minute}"


#: Pattern that all records of jobs and all dead letters match, of queues that are in no catalogue any more too.
SEALED_RECORDS: Final = "teknav:{*}:[jd][ol][bq]:*"


def is_dead_letter(record: str) -> bool:
    """Whether such a record is a dead letter's."""
    return record.partition("}:")[2].startswith("dlq:")


class QueueKeys:
    """The keys of one queue."""

    __slots__ = (
        "active",
        "audit",
        "cancelled",
        "completed",
        "control",
        "corrupt",
        "delayed",
        "deletion_family",
        "dlq",
        "dlq_fingerprint_family",
        "dlq_groups",
        "dlq_record_family",
        "dlq_type_family",
        "failed",
        "handed_out",
        "idempotency_family",
        "job_family",
        "last_turn",
        "minute_family",
        "prioritized",
        "queue",
        "replay_family",
        "replays",
        "replays_running",
        "totals",
        "waiting",
        "wake",
        "workers",
    )

    def __init__(self, queue: str) -> None:
        prefix = f"teknav:{{{queue}}}:"
        self.queue = queue
        #: LIST of job ids without a priority that arrived, oldest first.
        self.waiting = prefix + "waiting"
        #: ZSET of job ids that wait and have a priority, or fell due, or came back; score is priority, then turn.
        self.prioritized = prefix + "prioritized"
        #: STRING: the turn of the job that arrived last: when it was ready, ms, with a fraction among those of one ms.
        self.last_turn = prefix + "last-turn"
        #: LIST with at most one token; the waiters of idle worker processes block on it.
        self.wake = prefix + "wake"
        #: ZSET of job ids handed to a worker; score is the lease's deadline (ms).
        self.active = prefix + "active"
        #: ZSET of job ids; score is when they are due (ms).
        self.delayed = prefix + "delayed"
        #: ZSETs of job ids, newest kept; score is when they ended (ms).
        self.completed = prefix + "completed"
        self.failed = prefix + "failed"
        self.cancelled = prefix + "cancelled"
        #: HASH per job: its record.
        self.job_family = prefix + "job:"
        #: ZSET of dead letters (score: failed at, ms), one more per error type and per fingerprint.
        self.dlq = prefix + "dlq"
        self.dlq_type_family = prefix + "dlq-type:"
        self.dlq_fingerprint_family = prefix + "dlq-fingerprint:"
        #: HASH `<error type>|<fingerprint>` -> how many dead letters.
        self.dlq_groups = prefix + "dlq-groups"
        #: HASH per dead letter: the fields a person needs to decide.
        self.dlq_record_family = prefix + "dlq:"
        #: STRING per idempotency key: the id of the job it made.
        self.idempotency_family = prefix + "idempotency:"
        #: HASH: paused, and limits changed while running.
        self.control = prefix + "control"
        #: ZSET of moments (ms) when jobs were handed out under a rate limit; score is how many there had been by then.
        self.handed_out = prefix + "handed-out"
        #: HASH per minute: counters and the duration sketch, kept 24 h.
        self.minute_family = prefix + "minute:"
        #: HASH: the same counters and sketch since the queue's first job, never reset.
        self.totals = prefix + "totals"
        #: STREAM: one entry per transition, until it is in AuditLog.
        self.audit = prefix + "audit"
        #: ZSET of worker processes; score is the last heartbeat (ms).
        self.workers = prefix + "workers"
        #: ZSET of job ids whose record could not be read (score: found at, ms).
        self.corrupt = prefix + "corrupt"
        #: HASH per batch replay or deletion; LIST of its frozen ids under `<id>:ids`, what failed again under `:again`.
        self.replay_family = prefix + "replay:"
        self.deletion_family = prefix + "deletion:"
        #: ZSET of batch replays (previewed, ms), SET of those that run, or would if their process had not died.
        self.replays = prefix + "replays"
        self.replays_running = prefix + "replays-running"

    def waiter(self, waiter_id: str) -> str:
        """LIST with at most one token: wakes the waiter of a worker process, which blocks on it beside the wake lists
        of this slot's queues, so that it begins to block on another; gone a minute after."""
        return f"{self.wake}:{waiter_id}"

    def job(self, job_id: str) -> str:
        """HASH: one job's record."""
        return self.job_family + job_id

    def dlq_record(self, job_id: str) -> str:
        """HASH: one dead letter."""
        return self.dlq_record_family + job_id

    def dlq_type(self, error_type: str) -> str:
        """ZSET: the dead letters of one error type."""
        return self.dlq_type_family + error_type

    def dlq_fingerprint(self, fingerprint: str) -> str:
        """ZSET: the dead letters with one fingerprint."""
        return self.dlq_fingerprint_family + fingerprint

    def minute(self, minute: int) -> str:
        """HASH: what happened in one minute (minutes since the epoch)."""
        return f"{self.minute_family}{minute}"

    def replay(self, replay_id: str) -> str:
        """HASH: one batch replay."""
        return self.replay_family + replay_id

    def replay_again(self, replay_id: str) -> str:
        """ZSET: the jobs of one batch replay that failed again; score: when, ms."""
        return f"{self.replay_family}{replay_id}:again"

    def replay_ids(self, replay_id: str) -> str:
        """LIST: the frozen `<job id>|<failed at>` entries of one batch replay."""
        return f"{self.replay_family}{replay_id}:ids"

    def deletion(self, deletion_id: str) -> str:
        """HASH: one batch deletion."""
        return self.deletion_family + deletion_id

    def deletion_ids(self, deletion_id: str) -> str:
        """LIST: the frozen `<job id>|<failed at>` entries of one batch deletion."""
        return f"{self.deletion_family}{deletion_id}:ids"
