"""Secret keys as operators see them: how much each is needed for, and putting all that is sealed under the current one.

A walk may be ended at any moment and begun again: what is under the current key already is only read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.vouching import links_by_key, vouch
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import WrongState
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.payloads.key_ring import KeyRing
from teknav_ops.redis_state.connection import Client
from teknav_ops.secret_rotation.in_redis import walk_redis
from teknav_ops.secret_rotation.in_tables import walk_tables
from teknav_ops.secret_rotation.sealed_values import AUDIT_LINKS, KINDS, SealedValues
from teknav_ops.topology import Topology

#: A dead letter that is written while a walk passes by may keep an older key; the next walk finds it.
_WALKS: Final = 5


def _silent(_: Any) -> None:
    """Progress nobody watches."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeyUse:
    """One key and how many values need it, by kind. `place` is where TEKNAV_SECRET_KEY lists it, from 1; None: it does
    not.
    """

    key_id: str
    place: int | None
    counts: dict[str, int]

    @property
    def is_current(self) -> bool:
        """Whether it encrypts."""
        return self.place == 1

    @property
    def is_needed(self) -> bool:
        """Whether it encrypts, or anything is kept that needs it."""
        return self.is_current or any(self.counts.values())


@dataclasses.dataclass(frozen=True, slots=True)
class KeyStatus:
    """All keys, the current one first, and what stands against removing an older one."""

    keys: list[KeyUse]
    #: How many values no key opens that is set, by kind, and where the first of them are.
    unreadable: dict[str, int]
    unreadable_examples: list[str]
    #: Living worker processes that encrypt with another key.
    other_workers: list[str]

    @property
    def removable(self) -> list[KeyUse]:
        """Older keys that are set and no more needed."""
        older = [key for key in self.keys if key.place is not None and not key.is_needed]
        return [] if self.other_workers else older

    @property
    def waiting_count(self) -> int:
        """How many values need another key than the current one."""
        return sum(sum(key.counts.values()) for key in self.keys if not key.is_current)


class SecretKeys:
    """Reads and changes under which key things are."""

    def __init__(
        self, client: Client, operator_log: OperatorLog, keys: KeyRing, topology: Topology, operator: Operator
    ) -> None:
        self._client = client
        self._log = operator_log
        self._database = operator_log.database
        self._keys = keys
        self._chain_keys = LinkKeys(keys.chain_keys)
        self._workers = WorkerQueries(client, topology)
        self._operator = operator

    @needs(Operation.ADMINISTER)
    def status(self, *, on_progress: Callable[[int], None] = _silent) -> KeyStatus:
        """What is under which key. Reads every job's record.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return self._status(self._walk(reseals=False, on_progress=on_progress))

    @needs(Operation.ADMINISTER)
    def reencrypt(self, *, on_progress: Callable[[int], None] = _silent) -> KeyStatus:
        """Put all that is sealed under the current key, and have the audit chain vouch for its links of older keys.

        Raises:
            WrongState: a worker process does not know the current key, or the audit chain is not intact. In the first
                case nothing was changed, in the second all but the links is done.
            StorageUnavailable: the database did not answer; what was done is done, and repeating goes on.
        """
        current = self._keys.ids[0]
        unknowing = [name for name, ids in self._workers.key_ids().items() if current not in ids]
        if unknowing:
            raise WrongState(f"keys: {', '.join(unknowing)} started without the current key; restart it first")
        resealed: dict[str, int] = {}
        with self._log.record("keys.reencrypted", actor=self._operator.name, key_id=current) as entry:
            for _ in range(_WALKS):
                found = self._walk(reseals=True, on_progress=on_progress)
                for (kind, key_id), count in found.counts.items():
                    if key_id not in (None, current):
                        resealed[kind] = resealed.get(kind, 0) + count
                entry.note(resealed=dict(resealed))
                if not found.of_other_keys(current):
                    break
            entry.note(has_vouched=vouch(self._database, self._chain_keys))
        return self._status(found)

    def _walk(self, *, reseals: bool, on_progress: Callable[[int], None]) -> SealedValues:
        found = SealedValues()
        walk_tables(self._database, self._keys, found, reseals=reseals)
        walk_redis(self._client, self._keys, found, reseals=reseals, on_progress=on_progress)
        return found

    def _status(self, found: SealedValues) -> KeyStatus:
        links = links_by_key(self._database, self._chain_keys)
        places: dict[str, int | None] = {key_id: place for place, key_id in enumerate(self._keys.ids, 1)}
        uses = [
            KeyUse(
                key_id,
                place,
                {kind: found.counts[kind, key_id] for kind in KINDS} | {AUDIT_LINKS: links.get(key_id, 0)},
            )
            for key_id, place in (places | dict.fromkeys(links.keys() - places.keys())).items()
        ]
        workers = self._workers.key_ids()
        return KeyStatus(
            uses,
            {kind: count for kind in KINDS if (count := found.counts[kind, None])},
            found.unreadable,
            [name for name, ids in workers.items() if ids[:1] != [self._keys.ids[0]]],
        )
