"""Deleting one queue's dead letters: a frozen list of what matches, for a reason; or all of them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

import param

from teknav_ops.deletions import checked_reason
from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.triage.view_models.acting import Bench
from teknav_ops.triage.view_models.speaking import SpeakingModel


class DlqDeletionModel(SpeakingModel, param.ParameterizedABC):
    """The part of a triage that deletes. What is deleted is what was previewed, never what the filters mean by then."""

    queue = param.String(doc="Whose dead letters.")
    limit = param.Integer(default=None, bounds=(1, 100_000), allow_None=True, doc="Only the oldest so many; None: all.")
    preview: Any = param.ClassSelector(default=None, class_=Replay, doc="The frozen list that `replay` would take.")
    deletion: Any = param.ClassSelector(default=None, class_=Deletion, doc="The frozen list that `delete` would take.")
    _bench: Bench
    #: Two clicks must not both find the same preview.
    _taking: threading.Lock

    @abstractmethod
    def _filter(self) -> DeadLetterFilter:
        """What was chosen."""

    @abstractmethod
    def _refresh(self) -> None:
        """Read what is shown again."""

    def preview_deletion(self) -> None:
        """Freeze what matches the filters now; nothing is deleted yet."""
        self.attempt(self._preview_deletion)

    def _preview_deletion(self) -> None:
        frozen = self._bench.control.preview_deletion(self.queue, self._filter(), limit=self.limit)
        with self._taking:
            self.deletion = frozen if frozen.total_count else None
        self.say(f"{frozen.extent} are on the list {frozen.id}; nothing is deleted yet.")

    def delete(self, reason: str) -> None:
        """Delete what was previewed, for a reason. A second call finds no preview and does nothing."""
        self.attempt(lambda: self._delete(reason))

    def _delete(self, reason: str) -> None:
        checked_reason(reason)
        with self._taking:
            frozen, self.deletion = self.deletion, None
        if frozen is None:
            self.say("Nothing is previewed: preview first.")
            return
        done = self._bench.control.delete_listed(frozen.queue, frozen.id, reason=reason)
        self._refresh()
        self.say(f"{done.outcome}.")

    # Purging -------------------------------------------------------------------------------------

    def purge(self, confirmation: str) -> None:
        """Delete all dead letters there are at this moment; `confirmation` must be the queue's name."""
        self.attempt(lambda: self._purge(confirmation))

    def _purge(self, confirmation: str) -> None:
        deleted = self._bench.control.purge(self.queue, confirmation=confirmation.strip())
        with self._taking:
            self.param.update(preview=None, deletion=None)
        self._refresh()
        self.say(f"{deleted:,} dead letters of {self.queue} are deleted.")
