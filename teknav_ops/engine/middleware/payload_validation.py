"""Payload validation: an invalid payload never reaches a processor."""

from __future__ import annotations

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.guard import Guard
from teknav_ops.payloads import codec
from teknav_ops.topology import Topology


class PayloadValidation(Guard):
    """Validates again at handling: a release in between may have changed the model."""

    def __init__(self, topology: Topology, cipher: codec.Cipher) -> None:
        self._topology = topology
        self._cipher = cipher

    def check(self, message: JobMessage) -> None:
        """Decrypt and build `message.order`; raises InvalidPayload."""
        queue = message.lane.queue
        if message.actor_name not in queue.jobs:
            return
        where = f"{queue.name} {message.actor_name}"
        model = queue.jobs[message.actor_name]
        if codec.SECRET_MARK not in (message.delivery.payload or ""):
            message.order = codec.validate(model, message.kwargs, where=where)
            return
        holder = codec.Holder(queue.name, message.actor_name, message.delivery.id)
        message.order = codec.validate(model, codec.unseal(message.kwargs, self._cipher, holder), where=where)
        message.secrets = frozenset(codec.secret_values(message.order))
