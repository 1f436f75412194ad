"""New ids, in the order of time: what is written together lies together in every index that holds them."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Final

from teknav_ops.errors import UnknownJob
from teknav_ops.one_line import is_one_line

_VERSION_7: Final = 7 << 76
#: As AuditLog keeps them.
_LONGEST_ID: Final = 64
_VARIANT: Final = 2 << 62


def new_job_id() -> str:
    """A UUID of version 7: the millisecond, then 74 random bits."""
    random = secrets.randbits(74)
    at_ms = time.time_ns() // 1_000_000
    return str(uuid.UUID(int=at_ms << 80 | _VERSION_7 | (random >> 62) << 64 | _VARIANT | random & (1 << 62) - 1))


def checked_id(job_id: str) -> str:
    """An id that somebody asks for. Raises UnknownJob for one that no job can have."""
    if not isinstance(job_id, str) or not 1 <= len(job_id) <= _LONGEST_ID or not is_one_line(job_id):
        shown = repr(job_id[:_LONGEST_ID]) if isinstance(job_id, str) else f"a {type(job_id).__name__}"
        raise UnknownJob(f"job: no job has the id {shown}")
    return job_id


def new_trace_id() -> str:
    """A W3C trace id (32 hexadecimal digits): the second, then 96 random bits."""
    return f"{int(time.time()):08x}{secrets.token_hex(12)}"
