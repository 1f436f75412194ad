"""Batch replays: a frozen list of dead letters, with a name, kept on record with what became of it.

The list is resolved once, at the preview. It names each failure by job id *and* moment, so a job
that fails again meanwhile is not replayed a second time. `replay_runner.py` goes through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from teknav_ops import frozen_lists
from teknav_ops.errors import InvalidRequest, UnknownJob, WrongState
from teknav_ops.jobs.batch_replay import Replay, read_replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.jobs.paging import NO_HASH, Cursor, Page, Window, check_limit, read_hashes
from teknav_ops.jobs.scanning import Source
from teknav_ops.one_line import is_one_line
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ListedPart
from teknav_ops.topology import Topology

NAME_LIMIT_CHARACTERS: Final = 120
RATE_RANGE: Final = (0.05, 10_000.0)
#: How long a replay stays on record after it last moved, ms.
KEPT_MS: Final = 30 * frozen_lists.DAY_SECONDS * 1000
_FORGOTTEN_CHUNK: Final = 20


class Replays(frozen_lists.FrozenLists):
    """Creates, lists, starts and aborts batch replays. Operators come through `control.py`."""

    def __init__(self, client: Client, queries: DeadLetterQueries, topology: Topology) -> None:
        super().__init__(client, queries)
        self.topology = topology

    def preview(
        self,
        queue: str,
        where: DeadLetterFilter,
        *,
        limit: int | None = None,
        operator: str,
        name: str = "",
        job_ids: Sequence[str] | None = None,
    ) -> Replay:
        """Freeze all matching dead letters, or the oldest `limit`, or those of `job_ids`. Nothing is replayed yet.

        No list is longer than 100,000; it says how many match in all. Raises:
            InvalidRequest: limit or name out of range, or more ids than the limit.
        """
        if not isinstance(name, str) or len(name) > NAME_LIMIT_CHARACTERS or not is_one_line(name):
            raise InvalidRequest(f"name: must be one line of at most {NAME_LIMIT_CHARACTERS} characters")
        frozen = self._resolve(queue, where, limit=limit, job_ids=job_ids)
        keys = QueueKeys(queue)
        facts = frozen.facts(operator) | {"name": name, "has_outcome": "1"}
        record, listed, at_ms = keys.replay(frozen.id), keys.replay_ids(frozen.id), frozen.created_at_ms
        frozen_lists.write(self._client, record, listed, frozen, facts, "ZADD", keys.replays, at_ms, frozen.id)
        self._forget_expired(keys)
        return self.get(queue, frozen.id)

    def _forget_expired(self, keys: QueueKeys) -> None:
        """Take a few of the oldest off the list whose record has run out."""
        oldest = [name for name, _ in self._client.zrange(keys.replays, 0, _FORGOTTEN_CHUNK - 1, withscores=True)]
        gone = [name for name in oldest if not self._client.exists(keys.replay(name))]
        if gone:
            self._client.execute_command("ZREM", keys.replays, *gone)

    def get(self, queue: str, replay_id: str) -> Replay:
        """How far a batch replay has come. Raises UnknownJob."""
        facts: dict[str, str] = self._client.hgetall(QueueKeys(queue).replay(checked_id(replay_id)))
        if not facts:
            raise UnknownJob(f"replay: {queue} has no batch replay {replay_id!r}; they are kept for thirty days")
        return read_replay(queue, replay_id, facts)

    def find(self, replay_id: str) -> Replay:
        """A batch replay, whichever queue it is of. Raises UnknownJob."""
        hashes = read_hashes(self._client, [QueueKeys(queue).replay(checked_id(replay_id)) for queue in self.topology])
        for queue, facts in zip(self.topology, hashes, strict=True):
            if facts:
                return read_replay(queue, replay_id, facts)
        raise UnknownJob(f"replay: there is no batch replay {replay_id!r}; they are kept for thirty days")

    def page(self, *, queue: str | None = None, cursor: str | None = None, limit: int = 50) -> Page[Replay]:
        """Batch replays of one queue, or of all, newest first, after `cursor`."""
        check_limit(limit)
        after = Cursor.parse(cursor)
        queues = [self.topology[queue].name] if queue else list(self.topology)
        parts = [self._newest(QueueKeys(name), after, limit) for name in queues]
        listed = [(name, entry) for name, part in zip(queues, parts, strict=True) for entry in part.entries]
        listed.sort(key=lambda place: (float(place[1].score), place[1].id), reverse=True)
        shown = listed[:limit]
        hashes = read_hashes(self._client, [QueueKeys(name).replay(entry.id) for name, entry in shown])
        items = [
            read_replay(name, entry.id, facts)
            for (name, entry), facts in zip(shown, hashes, strict=True)
            if facts and facts != NO_HASH
        ]
        has_more = len(listed) > limit or any(part.left_count for part in parts)
        total, before = sum(part.total_count for part in parts), sum(part.before_count for part in parts)
        next_cursor = str(Cursor.of(shown[-1][1])) if has_more else None
        return Page(items, next_cursor, total, looked_at_count=before + len(shown))

    def _newest(self, keys: QueueKeys, after: Cursor | None, count: int) -> ListedPart:
        source = Source.of_set(keys.replays, keys.replay(""), Window(), newest_first=True)
        return self._runner.run(source.part(after, count, ()))

    def running(self) -> list[tuple[str, str]]:
        """The (queue, id) of every batch replay that has been started and has not ended."""
        keys = [QueueKeys(queue) for queue in self.topology]
        if is_cluster(self._client):
            members = [self._client.execute_command("SMEMBERS", key.replays_running) for key in keys]
        else:
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("SMEMBERS", key.replays_running)
            members = pipeline.execute()
        return [(key.queue, replay_id) for key, found in zip(keys, members, strict=True) for replay_id in sorted(found)]

    def running_of(self, queue: str) -> list[Replay]:
        """The batch replays of a queue that run now, whoever started them and from where."""
        ids = [replay_id for name, replay_id in self.running() if name == queue]
        hashes = read_hashes(self._client, [QueueKeys(queue).replay(replay_id) for replay_id in ids])
        return [read_replay(queue, *known) for known in zip(ids, hashes, strict=True) if known[1].get("state")]

    def start(self, queue: str, replay_id: str, *, actor: str, rate_per_second: float | None) -> bool:
        """Let it run, at a rate or as fast as it can. Starting again is the same run; a new rate takes effect.

        False when nothing was changed, also because it has finished. Raises WrongState when it was aborted.
        """
        rate = "" if rate_per_second is None else f"{check_rate(rate_per_second):g}"
        call = scripts.move_replay(
            QueueKeys(queue), replay_id, wanted="running", by=actor, rate=rate, kept_ms=KEPT_MS
        )  # fmt: skip
        state, changed = self._runner.run(call)
        if state == "aborted":
            raise WrongState(f"replay: {replay_id} is aborted; preview a new one")
        if not state:
            self.get(queue, replay_id)
        return changed

    def abort(self, queue: str, replay_id: str, *, actor: str) -> bool:
        """Stop before the next chunk; what was replayed stays replayed. False when it was aborted already.

        Raises:
            WrongState: it has finished.
        """
        call = scripts.move_replay(QueueKeys(queue), replay_id, wanted="aborted", by=actor, kept_ms=KEPT_MS)
        state, changed = self._runner.run(call)
        if state == "finished":
            raise WrongState(f"replay: {replay_id} is finished already")
        if not state:
            self.get(queue, replay_id)
        return changed


def check_rate(rate: float) -> float:
    """The rate, in jobs per second. Raises InvalidRequest when it is out of range."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        raise InvalidRequest(
            f"rate: must be a number between {RATE_RANGE[0]:g} and {RATE_RANGE[1]:,.0f}, in jobs per second"
        )
    return rate
