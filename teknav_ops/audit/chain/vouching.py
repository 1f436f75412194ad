"""Links of older keys: a link of the current key can vouch for them, so that an older key is needed no more.

Links are never changed, so their signatures cannot be made anew. But each link's hash covers all before it: whoever has
seen that the whole chain is intact and signed, and says so in a link of the current key, has signed them again.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, select
from sqlalchemy.orm import Session

from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.links import Facts, LinkKeys, LinkTaken, append, newest_link
from teknav_ops.audit.chain.verify import verify
from teknav_ops.errors import WrongState
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditSeal

#: The sealer appends a link every few seconds at most, so somebody else is first rarely and never for long.
_TRIES: Final = 10


def links_by_key(database: Database, keys: LinkKeys) -> dict[str, int]:
    """How many links need each key: all of the current key's, and of others' those that are not vouched for."""
    with database.reading() as session:
        needed = not_(_vouched_by_current(session, keys))
        found = select(AuditSeal.key_id, func.count()).where(needed).group_by(AuditSeal.key_id)
        return {str(key): int(count) for key, count in session.execute(found)}


def vouch(database: Database, keys: LinkKeys) -> bool:
    """Follow the chain, and append a link that vouches for all links of other keys. False when there are none.

    Raises:
        WrongState: the chain is not intact, or a link's key is not set. Nothing was written.
        StorageUnavailable: the database did not answer.
    """
    with source_of(database) as source:
        last = select(AuditSeal.key_id, func.max(AuditSeal.number)).group_by(AuditSeal.key_id)
        others = {key: number for key, number in source.session.execute(last) if key != keys.newest}
        if not others or not _is_needed(source.session, keys):
            return False
        found = verify(source, keys, with_rows=False)
    if not found.is_intact:
        raise WrongState(f"audit: {found.findings[0].text}; run `teknav audit verify`")
    for _ in range(_TRIES):
        try:
            with database.session() as session:
                previous = newest_link(session)
                assert previous is not None
                append(session, keys, previous, last_id=previous.last_id, facts=Facts(vouched=others).text())
            return True
        except LinkTaken:
            continue
    raise WrongState("audit: the chain grew each time a link was to be appended; try again")


def _is_needed(session: Session, keys: LinkKeys) -> bool:
    needed = and_(AuditSeal.key_id != keys.newest, not_(_vouched_by_current(session, keys)))
    return session.scalar(select(AuditSeal.number).where(needed).limit(1)) is not None


def _vouched_by_current(session: Session, keys: LinkKeys) -> ColumnElement[bool]:
    """Which links a link of the current key vouches for."""
    said = select(AuditSeal.facts).where(AuditSeal.key_id == keys.newest, AuditSeal.facts.like('%"vouched"%'))
    vouched = [pair for text in session.scalars(said) for pair in Facts.of(text).vouched.items()]
    return or_(false(), *(and_(AuditSeal.key_id == key, AuditSeal.number <= number) for key, number in vouched))
