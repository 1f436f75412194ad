"""Every exception of TekNav ops, sorted by what happens next.

A processor raises one of three sorts. `PermanentError`: another attempt cannot help, so the
job goes to the dead letters at once. `TransientError`, like any exception not named here: the
job is retried with backoff. `Throttled`: the other side asked us to slow down, so the job
waits without using up an attempt, as often and as long as its queue's policy allows. So it
does when what is ours is `Away`.
"""

from __future__ import annotations

from typing import Final

from dramatiq.middleware import MiddlewareError

#: Messages quote what was given. Of a longer one the beginning and the end are kept: the end says what to do.
LONGEST_MESSAGE: Final = 4_000


class TekNavError(Exception):
    """The root of all errors that TekNav ops raises on purpose."""

    def __init__(self, message: str = "") -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 1_100]} … ({len(message):,} characters) … {message[-1_000:]}"
        super().__init__(message)


# What a processor may raise ------------------------------------------------------------------


class PermanentError(TekNavError):
    """Never retried: the job goes to the dead letters at the first attempt."""


class TransientError(TekNavError):
    """Retried with backoff. `retry_after_seconds`, where the other side named it, is honoured."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Throttled(TekNavError):
    """The other side asked for a pause: the job is snoozed and no attempt is used up."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Waiting(Throttled):
    """Nothing went wrong: the job waits for something of ours, such as another job or a person."""


# What a producer or an operator may meet -----------------------------------------------------


class InvalidRequest(TekNavError):
    """The caller's input is wrong; the message names the field and the fix. Nothing was written."""


class UnknownQueue(InvalidRequest):
    """No queue of that name is in the topology."""


class UnknownJob(InvalidRequest):
    """The queue carries no job of that name, or keeps no record with that id."""


class InvalidPayload(InvalidRequest, PermanentError):
    """The payload does not fit its model. Field errors are in `fields`, as (path, problem) pairs."""

    def __init__(self, message: str, fields: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or []


class PayloadTooLarge(InvalidRequest):
    """The payload is larger than the limit: store the data elsewhere and pass its id."""


class NotAllowed(TekNavError):
    """The operator's role does not permit this. `operation` is the right that was missing, where one was."""

    def __init__(self, message: str = "", *, operation: str | None = None) -> None:
        super().__init__(message)
        self.operation = operation


class WrongState(InvalidRequest):
    """The job is not in a state from which this move is allowed. Nothing was changed."""


class IdempotencyConflict(InvalidRequest):
    """The idempotency key was used for another request. Nothing was written. `fields` names what differs."""

    def __init__(self, key: str, job_id: str, field: str) -> None:
        super().__init__(
            f"idempotency_key: {key!r} was used for job {job_id} with another request; {field} differs. "
            "Send the same again, or choose another key"
        )
        self.job_id = job_id
        self.fields = [(field, f"differs from that of job {job_id}, which was made with the same key")]


class Away(TekNavError):
    """Something of ours does not answer, or takes no writes: no fault of the job that meets it."""


class RedisUnavailable(Away):
    """Redis did not answer within the allowed time. Nothing was accepted; try again."""


class StorageUnavailable(Away):
    """The SQL database did not answer. Nothing was done; try again."""


class StorageRefused(StorageUnavailable, PermanentError):
    """The SQL database refuses what is asked of it and will again: no such table or column, bad SQL, no right to it."""


class NoSnapshot(InvalidRequest):
    """There is no snapshot that this version can read; the message says how to make one."""


class SnapshotBusy(TekNavError):
    """Another exporter is at work in this folder. Nothing was done; it does the same work."""


class SnapshotDiskFull(TekNavError):
    """There is not enough room for the next snapshot. Those that exist are intact."""


class MissingProcessor(TekNavError):
    """A job in the topology has no processor, so the workers refuse to start."""


class MissingSecretKey(TekNavError):
    """A payload has secret fields but no key is set: set TEKNAV_SECRET_KEY (`teknav doctor` says how)."""


class EmbeddedServerFailed(TekNavError):
    """The embedded Valkey did not start; the message carries the end of its log."""


# What the engine records ---------------------------------------------------------------------


class GuardFailed(MiddlewareError):
    """A check before the job could not be made. Translated to this so that Dramatiq stops the job."""


class WorkerLost(PermanentError):
    """The worker died three times while it ran this job, so the job is set aside."""


class ThrottledTooLong(PermanentError):
    """The other side asked for a pause as often, or for as long, as the queue's policy allows."""


class InvalidResult(PermanentError):
    """The job ran to its end, but what it returned cannot be kept: JSON cannot carry it."""


class CorruptRecord(PermanentError):
    """What Redis holds for this job cannot be read as a job."""
