"""The database as what is verified: one moment of it, however long it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from teknav_ops.audit.chain.lines import digest, read_lines, read_some
from teknav_ops.audit.chain.links import COLUMNS, Facts, Link, facts_of_links
from teknav_ops.audit.chain.verification import FINDINGS_TOLD, UnreadableLink
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog, AuditSeal

#: Rows of so many links are read at once, about; links of quiet hours hold few rows each.
_ROWS_AT_ONCE: Final = 60_000
_LINKS_AT_ONCE: Final = 500


@contextlib.contextmanager
def source_of(database: Database) -> Iterator[DatabaseSource]:
    """The database at one moment.

    Raises:
        StorageUnavailable: it did not answer.
    """
    with database.reading() as session:
        if not database.is_sqlite:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield DatabaseSource(session)


class DatabaseSource:
    """Reads in one transaction, which must be at one moment."""

    is_file = False

    def __init__(self, session: Session) -> None:
        self.session = session

    def pruned(self) -> Link | None:
        """The newest checkpoint."""
        is_checkpoint = (AuditSeal.pruned_to_number.is_not(None), AuditSeal.pruned_to_id.is_not(None))
        newest = select(AuditSeal.number).where(*is_checkpoint).order_by(AuditSeal.pruned_to_number.desc())
        # One that cannot be read is named as a link; here the newest counts that can.
        links = (self._read([number])[0] for number in self.session.scalars(newest).all())
        return next((link for link in links if isinstance(link, Link)), None)

    def facts(self) -> Iterator[Facts]:
        """The facts of all links, in order."""
        return facts_of_links(self.session)

    def vouching(self, after_number: int) -> Iterator[Link]:
        """Links behind one that vouch for others."""
        numbers = select(AuditSeal.number).where(AuditSeal.number > after_number, AuditSeal.facts.like('%"vouched"%'))
        found = (self._read([number])[0] for number in self.session.scalars(numbers).all())
        return (link for link in found if isinstance(link, Link))

    def before_newest(self, count: int) -> Link | None:
        """The link before so many of the newest."""
        found = select(*COLUMNS).order_by(AuditSeal.number.desc()).offset(count).limit(1)
        row = self.session.execute(found).one_or_none()
        return None if row is None else Link.checked(row._asdict())

    def last_number(self) -> int:
        """The number of the newest link, whatever it holds; 0 without any."""
        return self.session.scalar(select(func.max(AuditSeal.number))) or 0

    def link(self, number: int) -> Link | UnreadableLink | None:
        """One link."""
        is_there = self.session.scalar(select(AuditSeal.number).where(AuditSeal.number == number))
        return None if is_there is None else self._read([number])[0]

    def links(self, after_number: int) -> Iterator[list[Link | UnreadableLink]]:
        """Links in order, some at a time."""
        while True:
            sizes = select(AuditSeal.number, AuditSeal.row_count).where(AuditSeal.number > after_number)
            numbers, row_count = [], 0
            for number, size in self.session.execute(sizes.order_by(AuditSeal.number).limit(_LINKS_AT_ONCE)):
                numbers.append(number)
                row_count += size if isinstance(size, int) else 0
                if row_count >= _ROWS_AT_ONCE:
                    break
            if not numbers:
                return
            yield self._read(numbers)
            after_number = numbers[-1]

    def _read(self, numbers: list[int]) -> list[Link | UnreadableLink]:
        wanted = select(*COLUMNS).where(AuditSeal.number.between(numbers[0], numbers[-1])).order_by(AuditSeal.number)
        try:
            return [Link.checked(row._asdict()) for row in self.session.execute(wanted)]
        except (ValueError, TypeError):
            if len(numbers) == 1:
                return [UnreadableLink(numbers[0])]
            return [link for number in numbers for link in self._read([number])]

    def lines(self, after_id: int, up_to_id: int) -> list[bytes]:
        """The rows of a range."""
        return list(read_lines(self.session, after_id, up_to_id))

    def without_end(self, ids: list[int]) -> dict[int, str]:
        """Of rows, the digest of what does not change when their action ends."""
        found = read_some(self.session, ids, without_end=True)
        return {row_id: digest(text).hex() for row_id, text in found.items()}

    def left_behind(self, checkpoint: Link) -> list[int]:
        """Retention deletes rows first and links afterwards: while there are such links, it is under way."""
        stale = select(AuditSeal.number).where(AuditSeal.number <= checkpoint.pruned_to_number).limit(1)
        if self.session.scalar(stale) is not None:
            return []
        below = select(AuditLog.id).where(AuditLog.id <= checkpoint.pruned_to_id).order_by(AuditLog.id)
        return list(self.session.scalars(below.limit(FINDINGS_TOLD)))

    def unsealed(self, after_id: int) -> int:
        """How many rows are newer than the last link."""
        newer = select(func.count()).select_from(AuditLog).where(AuditLog.id > after_id)
        return self.session.scalar(newer) or 0
