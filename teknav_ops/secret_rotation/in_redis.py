"""Sealed values in Redis: the payloads of jobs in every state, what they were before an edit, and dead letters.

Records are found with SCAN, which misses none that is there all the time, whatever state its job moves to meanwhile.
Each is written only while it still holds what was read (reseal.lua), so nothing that happens to a job is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from teknav_ops.payloads.key_ring import KeyRing, tokens_in
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client, is_wrong_type
from teknav_ops.redis_state.keys import SEALED_RECORDS, is_dead_letter
from teknav_ops.redis_state.scripts import Call, Replaced, ScriptRunner
from teknav_ops.secret_rotation.sealed_values import DEAD_LETTERS, JOB_PAYLOADS, SealedValues

#: Records that are read in one round trip; their payloads may be large.
_RECORDS_AT_ONCE: Final = 100
_SCANNED_AT_ONCE: Final = 1_000
_FIELDS: Final = ["payload", "first_payload"]


def walk_redis(
    client: Client, keys: KeyRing, found: SealedValues, *, reseals: bool, on_progress: Callable[[int], None]
) -> None:
    """Count the sealed values of all records and, if wished, put those of older keys under the current one.

    Raises:
        redis-py's errors. What was done is done; the next walk goes on.
    """
    runner, done = ScriptRunner(client), 0
    records = client.scan_iter(match=SEALED_RECORDS, count=_SCANNED_AT_ONCE)
    while names := list(islice(records, _RECORDS_AT_ONCE)):
        calls = [call for call in _looked_at(client, names, keys, found) if reseals]
        for answer in runner.run_many(calls) if calls else ():
            if isinstance(answer, Exception):
                raise answer
        done += len(names)
        on_progress(done)


def _looked_at(client: Client, names: list[str], keys: KeyRing, found: SealedValues) -> Iterator[Call[int]]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hmget(name, _FIELDS)
    for name, texts in zip(names, pipeline.execute(raise_on_error=False), strict=True):
        if is_wrong_type(texts):
            continue
        if isinstance(texts, Exception):
            raise texts
        kind, replaced = DEAD_LETTERS if is_dead_letter(name) else JOB_PAYLOADS, []
        for field, text in zip(_FIELDS, texts, strict=True):
            openers = [keys.opener(token) for token in tokens_in(text or "")]
            for opener in openers:
                found.add(kind, opener, name)
            if any(opener not in (None, keys.ids[0]) for opener in openers):
                replaced.append(Replaced(field, text, keys.resealed_payload(text)))
        if replaced:
            yield scripts.reseal(name, replaced)
