"""One queue's dead letters: what is broken, and which jobs run again?"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from dashboards.page import ROOT, Crumb, Outcome, Page, action, dlq_path, queue_path, short
from dashboards.shown import cause_rows, deletion_row, letter_row, paged, payload_text, replay_row, runbook_path
from dashboards.visit import PAGE_SIZE
from teknav_ops.access.policy import Operation
from teknav_ops.errors import InvalidPayload, InvalidRequest
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.paging import Window
from teknav_ops.payloads import plain
from teknav_ops.spans import parse_moment
from teknav_ops.topology import TOPOLOGY

_FILTERS: Final = ("type", "fingerprint", "name", "text", "since", "until", "replay")
_ORDERS: Final = ("newest", "oldest")
_SELECTED_LIMIT: Final = 1_000


class DlqPage(Page):
    """DlqTable: causes first, then entries; inspect, replay, replay what matches, delete, purge."""

    name = "dlq"
    path = "queues/{queue}/dlq"
    place = "dlq"

    @property
    def queue(self) -> str:
        """Raises UnknownQueue."""
        return TOPOLOGY[self.visit.route["queue"]].name

    def title(self) -> str:
        """Shown in the browser's tab."""
        return f"Dead letters of {self.visit.route['queue']}"

    def crumbs(self) -> list[Crumb]:
        """The way here."""
        queue = self.visit.route["queue"]
        return [("Queues", f"{ROOT}/queues"), (queue, queue_path(queue)), ("Dead letters", None)]

    def concerns(self, event: Any) -> bool:
        """Events of this queue."""
        return getattr(event, "queue", None) == self.visit.route["queue"]

    def load(self) -> dict[str, Any]:
        """Causes, and a page of the entries that match the filters."""
        visit, queue = self.visit, self.queue
        cursor, order = visit.cursor(), visit.choice("order", _ORDERS)
        where = self._filter()
        page = visit.sources.dead_letters.page(
            queue, where=where, cursor=cursor, limit=PAGE_SIZE, newest_first=order == "newest"
        )
        is_short = len(page.items) < PAGE_SIZE and page.next_cursor is not None
        note = f"looked at {page.looked_at_count:,} so far; the next page goes on" if is_short else None
        recent = visit.sources.replays.page(queue=queue, limit=3).items
        open_replays = [replay for replay in recent if replay.state != "running" and replay.unsettled_count]
        return {
            "queue": {"name": queue, "href": dlq_path(queue), "jobNames": list(TOPOLOGY[queue].jobs),
                      "effects": TOPOLOGY[queue].effects, "exports": self._export_path(where)},
            "causes": cause_rows(visit, queue),
            "letters": [letter_row(visit, letter) for letter in page.items],
            **paged(page, cursor), "isFiltered": where != DeadLetterFilter(), "note": note, "order": order,
            "filters": {name: visit.filter(name) for name in _FILTERS},
            "replays": [replay_row(each) for each in [*visit.sources.replays.running_of(queue), *open_replays]],
        }  # fmt: skip

    def _export_path(self, where: DeadLetterFilter) -> str:
        """The API's address of what matches; spans are resolved now, since the API takes moments only."""
        window = where.window
        wanted = {
            "error_type": where.error_type, "fingerprint": where.fingerprint, "job_name": where.job_name,
            "text": where.text, "replay": where.replay, "since": window.since and window.since.isoformat(),
            "until": window.until and window.until.isoformat(),
        }  # fmt: skip
        query = urlencode({name: value for name, value in wanted.items() if value})
        return f"/api/owner/queues/{self.queue}/dead-letters/export?{query}"

    def _filter(self) -> DeadLetterFilter:
        visit = self.visit
        window = Window(
            parse_moment(visit.filter("since"), name="since"), parse_moment(visit.filter("until"), name="until")
        )
        return DeadLetterFilter(
            error_type=visit.filter("type"), fingerprint=visit.filter("fingerprint"), job_name=visit.filter("name"),
            text=visit.searched_text(), replay=visit.filter("replay"), window=window,
        )  # fmt: skip

    @action(Operation.READ)
    def inspect(self, job_id: str) -> Outcome:
        """One dead letter, whole."""
        letter = self.visit.sources.dead_letters.get(self.queue, job_id)
        shown = letter_row(self.visit, letter) | {
            "error": self.visit.masked_text(letter.error), "stack": self.visit.masked_text(letter.stack),
            "payload": payload_text(self.visit, letter.payload, indent=2), "runbook": runbook_path(letter.error_type),
        }  # fmt: skip
        return Outcome(data=shown)

    @action(Operation.ACT)
    def replay(self, job_id: str) -> Outcome:
        """Run one again."""
        self.visit.control.replay(self.queue, job_id)
        return Outcome(f"{short(job_id)} waits again, with fresh attempts.")

    @action(Operation.MANAGE)
    def replay_edited(self, job_id: str, payload: str) -> Outcome:
        """Run one again with another payload; problems come back by field."""
        data = plain.parse(payload, "payload")
        try:
            self.visit.control.replay(self.queue, job_id, data=data)
        except InvalidPayload as error:
            if not error.fields:
                raise
            return Outcome(data={"problems": dict(error.fields)})
        return Outcome(f"{short(job_id)} waits again with the new payload. The old one is in the audit trail.")

    @action(Operation.ACT)
    def preview(self, limit: int | None, name: str, job_ids: list[str] | None) -> Outcome:
        """Freeze what a batch replay would take: the selected, or what matches the filters now."""
        where = self._wanted(job_ids)
        replay = self.visit.control.preview_replay(self.queue, where, limit=limit, name=name.strip(), job_ids=job_ids)
        return Outcome(data=replay_row(replay))

    @action(Operation.ACT)
    def start(self, queue: str, replay_id: str, rate: float | None) -> Outcome:
        """Let a frozen list be replayed."""
        replay = self.visit.control.start_replay(queue, replay_id, rate_per_second=rate)
        return Outcome(f"{replay.name or 'The replay'} of {replay.extent} has begun.")

    @action(Operation.ACT)
    def abort(self, queue: str, replay_id: str) -> Outcome:
        """Stop a batch replay."""
        replay = self.visit.control.abort_replay(queue, replay_id)
        return Outcome(f"Stopped after {replay.replayed_count:,} jobs; they stay replayed.")

    @action(Operation.MANAGE)
    def delete(self, job_id: str) -> Outcome:
        """Delete one."""
        self.visit.control.delete(self.queue, job_id)
        return Outcome(f"The dead letter of {short(job_id)} is deleted.")

    @action(Operation.MANAGE)
    def preview_deletion(self, limit: int | None, job_ids: list[str] | None) -> Outcome:
        """Freeze what a batch deletion would take: the selected, or what matches the filters now."""
        where = self._wanted(job_ids)
        deletion = self.visit.control.preview_deletion(self.queue, where, limit=limit, job_ids=job_ids)
        return Outcome(data=deletion_row(deletion))

    @action(Operation.MANAGE)
    def delete_listed(self, deletion_id: str, reason: str) -> Outcome:
        """Delete a frozen list."""
        deletion = self.visit.control.delete_listed(self.queue, deletion_id, reason=reason)
        why = " The audit trail says why." if deletion.deleted_count else ""
        return Outcome(f"{deletion.outcome}.{why}")

    @action(Operation.MANAGE)
    def purge(self, confirmation: str) -> Outcome:
        """Delete all there are at this moment."""
        deleted = self.visit.control.purge(self.queue, confirmation=confirmation)
        return Outcome(f"{deleted:,} dead letters of {self.queue} are deleted.")

    def _wanted(self, job_ids: list[str] | None) -> DeadLetterFilter:
        """What matches the filters now; those that are selected are meant whatever the filters say."""
        if job_ids is None:
            return self._filter()
        if len(job_ids) > _SELECTED_LIMIT:
            raise InvalidRequest(f"job_ids: at most {_SELECTED_LIMIT:,} can be selected; use the filters")
        return DeadLetterFilter()
