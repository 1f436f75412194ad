"""Links of the chain: what their hashes cover, how they are signed, and how one is appended.

A link's hash covers the hash before it, so the newest covers everything. The signature is made with a key that is not
in the database: who may write there only can make hashes that fit, but no signatures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import zlib
from array import array
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import Text, cast, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from teknav_ops.payloads.key_ring import CHAIN_PURPOSE, key_id
from teknav_ops.secret_key import derived_keys
from teknav_ops.settings import Settings
from teknav_ops.storage.tables import AuditSeal

#: What stands for the hash before the first link.
NO_HASH: Final = "0" * 64
#: What a link says that has no facts to tell.
NO_FACTS: Final = "{}"
_FORM: Final = "teknav audit link 1"


class LinkTaken(Exception):
    """Somebody else appended a link at the same time: look again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One row of AuditSeal, which explains the fields."""

    number: int
    last_id: int
    row_count: int = 0
    ids: bytes = b""
    digests: bytes = b""
    content_hash: str = ""
    facts: str = NO_FACTS
    newest_at: datetime | None = None
    pruned_to_id: int | None = None
    pruned_to_number: int | None = None
    sealed_at: datetime
    previous_hash: str
    hash: str = ""
    key_id: str = ""
    signature: str = ""

    def computed_hash(self) -> str:
        """The hash that these values have."""
        covered = [
            _FORM,
            self.previous_hash,
            self.number,
            self.last_id,
            self.row_count,
            *(hashlib.sha256(each).hexdigest() for each in (self.ids, self.digests)),
            self.content_hash,
            self.facts,
            self.pruned_to_id,
            self.pruned_to_number,
            *(at and at.isoformat() for at in (self.newest_at, self.sealed_at)),
            self.key_id,
        ]
        return hashlib.sha256(json.dumps(covered, ensure_ascii=False).encode("utf-8", "backslashreplace")).hexdigest()

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Link:
        """A row's values. Raises TypeError where one is what its column cannot hold, as SQLite lets it."""
        link = cls(**values)
        for field, kinds in _KINDS.items():
            if not isinstance(getattr(link, field), kinds):
                raise TypeError(f"{field} of link {link.number}")
        return link


_KINDS: Final[dict[str, Any]] = {
    "newest_at": datetime | None,
    "sealed_at": datetime,
    **dict.fromkeys(("number", "last_id", "row_count"), int),
    **dict.fromkeys(("pruned_to_id", "pruned_to_number"), int | None),
    **dict.fromkeys(("ids", "digests"), bytes),
    **dict.fromkeys(("content_hash", "facts", "previous_hash", "hash", "key_id", "signature"), str),
}
FIELDS: Final = tuple(field.name for field in dataclasses.fields(Link))
COLUMNS: Final = [getattr(AuditSeal, name) for name in FIELDS]


class LinkKeys:
    """Signs links with the newest secret key, and knows the signatures of all of them."""

    def __init__(self, keys: list[bytes]) -> None:
        self._by_id = {key_id(key): key for key in keys}
        self.newest = next(iter(self._by_id))

    @classmethod
    def from_settings(cls, settings: Settings) -> LinkKeys:
        """Raises MissingSecretKey."""
        return cls(derived_keys(settings, CHAIN_PURPOSE))

    def sign(self, link_hash: str) -> str:
        """With the newest key."""
        return hmac.digest(self._by_id[self.newest], link_hash.encode(), "sha256").hex()

    def knows(self, key_id: str) -> bool:
        """Whether the key is one of ours."""
        return key_id in self._by_id

    def is_signed(self, link: Link) -> bool:
        """Whether the signature is that of the link's key, which is one of ours."""
        key = self._by_id.get(link.key_id)
        if key is None:
            return False
        expected = hmac.digest(key, link.hash.encode("utf-8", "backslashreplace"), "sha256").hex()
        return hmac.compare_digest(expected.encode(), link.signature.encode("utf-8", "backslashreplace"))


def newest_link(session: Session) -> Link | None:
    """The end of the chain; None before the first link."""
    row = session.execute(select(*COLUMNS).order_by(AuditSeal.number.desc()).limit(1)).one_or_none()
    return None if row is None else Link.checked(row._asdict())


def append(session: Session, keys: LinkKeys, previous: Link | None, **facts: Any) -> Link:
    """Append a link behind `previous`, which must be the newest.

    Raises:
        LinkTaken: it was not: roll back.
    """
    draft = Link(
        number=1 if previous is None else previous.number + 1,
        previous_hash=NO_HASH if previous is None else previous.hash,
        sealed_at=datetime.now(UTC),
        key_id=keys.newest,
        **facts,
    )
    link_hash = draft.computed_hash()
    link = dataclasses.replace(draft, hash=link_hash, signature=keys.sign(link_hash))
    try:
        session.execute(insert(AuditSeal).values({name: getattr(link, name) for name in FIELDS}))
    except IntegrityError as error:
        raise LinkTaken(str(link.number)) from error
    return link


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a link says of rows whose action was under way: by id, the digest of what of them must not change any more
    (`opened`), or of the whole row now that it has ended (`ended`).

    A link may vouch for links of older keys: `vouched` holds, by a key's id, the number up to which every link was seen
    to follow the one before and to be signed by its key, so that its signatures need not be asked for any more.
    """

    opened: dict[int, str] = dataclasses.field(default_factory=dict)
    ended: dict[int, str] = dataclasses.field(default_factory=dict)
    vouched: dict[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, text: Any) -> Facts:
        """Parsed; empty where somebody wrote nonsense in their place, which the link's hash tells."""
        try:
            found = json.loads(text)
            vouched = {str(key): int(number) for key, number in found.get("vouched", {}).items()}
            return cls(_by_id(found.get("open", {})), _by_id(found.get("ended", {})), vouched)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def text(self) -> str:
        """As it is kept."""
        named: dict[str, Any] = {"open": self.opened, "ended": self.ended, "vouched": self.vouched}
        return json.dumps({name: rows for name, rows in named.items() if rows})


def _by_id(rows: dict[str, str]) -> dict[int, str]:
    return {int(row_id): str(found) for row_id, found in rows.items()}


def facts_of_links(session: Session, after_number: int = 0) -> Iterator[Facts]:
    """The facts of those links that have some, in order."""
    with_some = (AuditSeal.number > after_number, AuditSeal.facts != NO_FACTS)
    found = select(cast(AuditSeal.facts, Text)).where(*with_some).order_by(AuditSeal.number)
    yield from map(Facts.of, session.scalars(found))


def open_rows(session: Session) -> set[int]:
    """Ids of rows that some link holds as open and none as ended."""
    opened: set[int] = set()
    for facts in facts_of_links(session):
        opened = (opened | facts.opened.keys()) - facts.ended.keys()
    return opened


def pack_ids(ids: list[int]) -> bytes:
    """Ids in rising order, in little room where they follow each other."""
    steps = array("Q", [now - before for before, now in zip([0, *ids], ids, strict=False)])
    return zlib.compress(steps.tobytes(), 1)


def unpack_ids(packed: bytes) -> list[int]:
    """The ids again. Raises ValueError when these are none."""
    try:
        steps = array("Q", zlib.decompress(packed))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return list(accumulate(steps))
