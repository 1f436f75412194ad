"""What a workflow run says of its job's end: that of a run which no worker goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from redis.exceptions import RedisError

from teknav_ops.errors import UnknownQueue
from teknav_ops.jobs.states import JobState
from teknav_ops.platform.job_records.job_now import JobNow
from teknav_ops.platform.job_records.kind import Facts
from teknav_ops.platform.workflow_cancelling import cancel_child, open_children
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.records")


def workflow_facts(row: Any, now: JobNow) -> Facts | None:
    """How a run ended whose job has; None for one that has said so, or whose job goes on.

    A run that waits or runs may go on under a job that waits. Its `tick` grows, so that a worker which was overtaken
    can write nothing over it.
    """
    if row.finished_at is not None or now.state in (JobState.ACTIVE, JobState.WAITING, JobState.DELAYED):
        return None
    error_type, error, cancelled_by = row.error_type, row.error, row.cancelled_by
    if row.status == "cancelled" or now.state is JobState.CANCELLED:
        status, cancelled_by = "cancelled", cancelled_by or now.by or None
    elif now.state is JobState.COMPLETED:
        status = "completed"
    else:
        status, told_type, told = "failed", *_parts(now.reason)
        if row.status == "compensating" and error_type:
            # Why it was being undone matters more.
            error = f"{error}; it was cut off as it was undone: {now.reason}"
        else:
            error_type, error = told_type, told
    return {
        "status": status,
        "error_type": error_type,
        "error": error,
        "cancelled_by": cancelled_by,
        "finished_at": utc_now(),
        "wake_at": None,
        "tick": row.tick + 1,
    }


def _parts(reason: str) -> tuple[str, str]:
    error_type, _, error = reason.partition(": ")
    return error_type, error


def cancel_children(client: Client, database: Database, statuses: Mapping[int, str]) -> None:
    """Take out what cancelled runs wait for, as the processor does: a cancelled job is never run again."""
    cancelled = [run_id for run_id, status in statuses.items() if status == "cancelled"]
    for queue, child_id in open_children(database, cancelled) if cancelled else ():
        try:
            cancel_child(client, database, TOPOLOGY, queue, child_id)
        except OUTAGE_ERRORS:
            raise
        except (RedisError, UnknownQueue) as error:
            # A queue that there is no more, or a damaged one: the run and all others have ended all the same.
            log.warning("records.child_left", queue=queue, job_id=child_id, error=str(error))
