"""A job that has ended, run again as a job of its own: same name, payload, priority and trace, another id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from teknav_ops.errors import WrongState
from teknav_ops.jobs.identifiers import new_job_id, new_trace_id
from teknav_ops.jobs.record import RUN_AGAIN_OF, envelope_of
from teknav_ops.payloads import codec, plain
from teknav_ops.redis_state.scripts import NewJob
from teknav_ops.telemetry import new_origin
from teknav_ops.topology import Queue

#: States that nothing leaves. A failed job is replayed instead, under its own id.
ENDED: Final = ("completed", "cancelled")


def second_run(
    queue: Queue, job_id: str, stored: Mapping[str, str], cipher: codec.Cipher, *, limit_bytes: int
) -> NewJob:
    """The job to enqueue. Its idempotency key lets one job be run again once, until that run is gone; in place of a
    cancelled job it has that job's own, so that the work is done once by whoever asks for it.

    Raises:
        WrongState: the job has not ended, or has failed.
        UnknownJob, InvalidPayload, MissingSecretKey: today's topology or keys cannot take its payload any more.
    """
    state, name = stored.get("state", ""), stored.get("name", "")
    if state not in ENDED:
        hint = "replay it" if state == "failed" else "wait until it has ended"
        raise WrongState(f"job: {job_id} is {state}; only completed or cancelled jobs are run again; {hint}")
    again = codec.Holder(queue.name, name, new_job_id())
    data = codec.unseal(plain.read_or_raw(stored.get("payload", "")), cipher, codec.Holder(queue.name, name, job_id))
    payload = codec.validate(queue.payload_of(name), data, where=f"{queue.name} {name}")
    origin = new_origin(stored.get("trace") or new_trace_id())
    return NewJob(
        id=again.job_id,
        name=name,
        payload=codec.seal(payload, cipher, again, limit_bytes=limit_bytes),
        options=_options(stored, {"traceparent": origin.traceparent, RUN_AGAIN_OF: job_id}),
        idempotency_key=_own_key(stored) or f"run again: {job_id}",
        priority=int(stored.get("priority", 0)),
        trace_id=origin.trace_id,
    )


def _own_key(stored: Mapping[str, str]) -> str:
    """The key that a job's cancelling freed; '' for one that has run, or was itself a second run."""
    is_second = RUN_AGAIN_OF in envelope_of(stored)["options"]
    return "" if is_second or stored["state"] != "cancelled" else stored.get("idempotency_key", "")


def _options(stored: Mapping[str, str], own: dict[str, str]) -> str:
    """What Dramatiq's message carried, without the key and the delay of the first run."""
    envelope: dict[str, Any] = envelope_of(stored)
    kept = {name: value for name, value in envelope["options"].items() if name not in ("idempotency_key", "delay")}
    return json.dumps(envelope | {"options": kept | own}, separators=(",", ":"))
