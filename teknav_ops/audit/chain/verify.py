"""Is AuditLog as it was written? The chain is followed from its beginning, and each row compared with what it holds.

What is named is the first row that differs and how, and after it some more. The source may be the database or an
export: `Source` is what is asked of it.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping

from teknav_ops.audit.chain.lines import BEFORE_ALL, DIGEST_BYTES, content_hash, digest, id_of, is_open
from teknav_ops.audit.chain.links import NO_HASH, Facts, Link, LinkKeys, unpack_ids
from teknav_ops.audit.chain.verification import Finding, Part, Source, UnreadableLink, Verification
from teknav_ops.errors import InvalidRequest


def verify(
    source: Source,
    keys: LinkKeys | None,
    *,
    expected: str | None = None,
    newest_links: int | None = None,
    part: Part | None = None,
    with_rows: bool = True,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Follow the chain and compare every row, or those of the newest links, or of a part. Without keys, signatures are
    not looked at; without rows, only that links follow each other and who signed them.

    Raises:
        StorageUnavailable: the database did not answer.
        InvalidRequest: `expected` is no `NUMBER:HASH`, or of a link that retention has deleted.
    """
    verifier = _Verifier(source, keys, _parse(expected), with_rows, on_progress)
    before = None if newest_links is None else source.before_newest(newest_links)
    return verifier.run(before if part is None else part.before, part)


def _parse(expected: str | None) -> tuple[int, str] | None:
    if expected is None:
        return None
    number, _, link_hash = expected.partition(":")
    if not (number.isascii() and number.isdecimal() and len(link_hash) == len(NO_HASH)):
        raise InvalidRequest(f"expect: {expected!r} is not NUMBER:HASH, which `teknav audit verify` prints as `newest`")
    return int(number), link_hash


def _raise(known: dict[str, int], found: Mapping[str, int]) -> None:
    for key, number in found.items():
        known[key] = max(number, known.get(key, 0))


class _Verifier:
    def __init__(
        self,
        source: Source,
        keys: LinkKeys | None,
        expected: tuple[int, str] | None,
        with_rows: bool,
        on_progress: Callable[[int], None],
    ) -> None:
        self._source = source
        self._keys = keys
        self._expected = expected
        self._with_rows = with_rows
        self._on_progress = on_progress
        self._found = Verification()
        self._number, self._hash, self._last_id = 0, NO_HASH, BEFORE_ALL
        self._ended: dict[int, str] = {}
        #: By key, up to which link others are said to be vouched for; and up to which a link says so that is ours.
        self._said_vouched: dict[str, int] = {}
        self._vouched: dict[str, int] = {}
        #: By key that is not ours, its last link that is said to be vouched for; and those that were found.
        self._to_be_vouched: dict[str, Link] = {}
        self._unknown_keys: set[str] = set()
        #: After a link that cannot be read: where its rows ended is unknown.
        self._is_lost = False

    def run(self, before: Link | None, part: Part | None) -> Verification:
        """Follow the chain from its beginning, or from behind a link, to its end or that of the part."""
        began = time.monotonic()
        self._begin_at_checkpoint()
        if before is not None and before.number > self._number:
            self._number, self._hash, self._last_id = before.number, before.hash, before.last_id
        for facts in self._source.facts():
            self._ended |= facts.ended
            _raise(self._said_vouched, facts.vouched)
        for links in self._source.links(self._number):
            self._compare_some(links)
            self._on_progress(self._found.row_count)
            if part is not None and part.is_done(self._found, self._number):
                # Whatever is about the end is for the last part.
                self._check_vouched(further_on=True)
                return self._ended_at(began)
        if self._expected is not None and self._expected[0] > self._number:
            text = f"the chain ends at link {self._number}; link {self._expected[0]} was expected"
            self._found.add(Finding(kind="expected", text=text))
        self._check_vouched()
        self._found.unsealed_count = self._source.unsealed(self._last_id)
        return self._ended_at(began)

    def _ended_at(self, began: float) -> Verification:
        self._found.newest = f"{self._number}:{self._hash}" if self._number else None
        self._found.seconds = time.monotonic() - began
        return self._found

    def _begin_at_checkpoint(self) -> None:
        checkpoint = self._source.pruned()
        if checkpoint is None:
            return
        assert checkpoint.pruned_to_id is not None and checkpoint.pruned_to_number is not None
        self._number, self._last_id = checkpoint.pruned_to_number, checkpoint.pruned_to_id
        self._hash = ""
        self._found.pruned_to_id = checkpoint.pruned_to_id
        if self._expected is not None and self._expected[0] <= self._number:
            raise InvalidRequest(f"expect: link {self._expected[0]} was deleted by retention; expect a newer one")
        for row_id in self._source.left_behind(checkpoint):
            text = f"row {row_id} was inserted below what retention had deleted"
            self._found.add(Finding(kind="inserted", text=text, row_id=row_id))

    def _compare_some(self, links: list[Link | UnreadableLink]) -> None:
        """Blocks that follow each other, with one reading of their rows."""
        up_to = max((link.last_id for link in links if isinstance(link, Link)), default=self._last_id)
        lines, at = self._source.lines(self._last_id, up_to) if self._with_rows else [], 0
        for link in links:
            if isinstance(link, UnreadableLink):
                self._link_finding(link.number, "was changed: it holds what no link can")
                self._number, self._hash, self._is_lost = link.number, "", True
                continue
            facts = Facts.of(link.facts)
            is_behind_gap = self._check_link(link, facts) or self._is_lost
            if self._with_rows:
                at = self._compare_block(link, facts, lines, at, is_behind_gap)
            self._number, self._hash, self._last_id, self._is_lost = link.number, link.hash, link.last_id, False
            self._found.link_count += 1

    def _check_link(self, link: Link, facts: Facts) -> bool:
        """Whether links are missing before it."""
        gap = link.number != self._number + 1
        if gap:
            missing = f"link {self._number + 1}" if link.number == self._number + 2 else (
                f"links {self._number + 1:,} to {link.number - 1:,}"
            )  # fmt: skip
            self._link_finding(link.number, f"follows a gap: {missing} were removed, and rows with them")
        elif self._hash and link.previous_hash != self._hash:
            self._link_finding(link.number, "does not follow the link before it: one of them was changed")
        if link.computed_hash() != link.hash:
            self._link_finding(link.number, f"was changed; it covers rows up to {link.last_id:,}")
        if self._expected is not None and self._expected[0] == link.number and self._expected[1] != link.hash:
            text = f"link {link.number} is not the expected one: the chain was written anew"
            self._found.add(Finding(kind="expected", text=text, link=link.number))
        if self._keys is not None:
            self._check_signature(link, facts, self._keys)
        return gap

    def _check_signature(self, link: Link, facts: Facts, keys: LinkKeys) -> None:
        if keys.is_signed(link):
            _raise(self._vouched, facts.vouched)
        elif keys.knows(link.key_id):
            text = f"link {link.number} has a wrong signature: it was not made here"
            self._found.add(Finding(kind="signature", text=text, link=link.number))
        elif link.number <= self._said_vouched.get(link.key_id, 0):
            self._to_be_vouched[link.key_id] = link
        else:
            self._unknown_key(link)

    def _check_vouched(self, *, further_on: bool = False) -> None:
        """Whether a link that says so of links of other keys is one of ours: one of those seen, or one `further_on`."""
        if further_on and self._keys is not None and self._to_be_vouched:
            for link in self._source.vouching(self._number):
                if self._keys.is_signed(link) and link.computed_hash() == link.hash:
                    _raise(self._vouched, Facts.of(link.facts).vouched)
        for link in self._to_be_vouched.values():
            if link.number > self._vouched.get(link.key_id, 0):
                self._unknown_key(link)

    def _unknown_key(self, link: Link) -> None:
        if link.key_id in self._unknown_keys:
            return
        self._unknown_keys.add(link.key_id)
        text = (
            f"link {link.number} is signed with key {link.key_id!r}, which is not in TEKNAV_SECRET_KEY: "
            "add the old key at its end, or verify without keys"
        )
        self._found.add(Finding(kind="signature", text=text, link=link.number))

    def _link_finding(self, number: int, what: str) -> None:
        self._found.add(Finding(kind="link", text=f"link {number} {what}", link=number))

    def _compare_block(self, link: Link, facts: Facts, lines: list[bytes], at: int, is_behind_gap: bool) -> int:
        """Compare a block with the rows from `at` on. Answers where the next block begins."""
        block = lines if self._source.is_file else lines[at : at + link.row_count]
        if not facts.opened and len(block) == link.row_count and content_hash(block) == link.content_hash:
            self._found.row_count += len(block)
            return at + len(block)
        try:
            wanted = unpack_ids(link.ids)
        except ValueError:
            wanted = []
        if not self._source.is_file:
            if is_behind_gap and wanted:
                at = bisect_left(lines, wanted[0], lo=at, key=id_of)
            block = lines[at : bisect_right(lines, link.last_id, lo=at, key=id_of)]
        self._found.row_count += len(block)
        self._compare_rows(link, wanted, block, facts)
        return at + len(block)

    def _compare_rows(self, link: Link, ids: list[int], block: list[bytes], facts: Facts) -> None:
        kept = [link.digests[at : at + DIGEST_BYTES] for at in range(0, len(link.digests), DIGEST_BYTES)]
        wanted = dict(zip(ids, kept, strict=False))
        found: dict[int, bytes] = {}
        for line in block:
            if found.setdefault(id_of(line), line) is not line:
                self._row_finding("inserted", id_of(line), link.number)
        fixed = self._source.without_end([each for each in facts.opened if each in found]) if facts.opened else {}
        for row_id in sorted(wanted.keys() | found.keys()):
            if row_id not in found:
                self._row_finding("removed", row_id, link.number)
            elif row_id not in wanted:
                self._row_finding("inserted", row_id, link.number)
            elif row_id in facts.opened:
                has_same_start = fixed.get(row_id) == facts.opened[row_id]
                if not has_same_start or not self._has_ended_well(row_id, found[row_id], wanted[row_id]):
                    self._row_finding("changed", row_id, link.number)
            elif digest(found[row_id]) != wanted[row_id]:
                self._row_finding("changed", row_id, link.number)

    def _has_ended_well(self, row_id: int, line: bytes, as_begun: bytes) -> bool:
        """A row whose action was under way: as it was then, or as it ended; the end may not be sealed yet."""
        ended = self._ended.get(row_id)
        if ended is not None:
            return digest(line).hex() == ended
        return digest(line) == as_begun or not is_open(line)

    def _row_finding(self, kind: str, row_id: int, link: int) -> None:
        text = f"row {row_id} was {kind} after it was sealed" if kind != "inserted" else (
            f"row {row_id} was inserted among rows that are sealed"
        )  # fmt: skip
        self._found.add(Finding(kind=kind, text=f"{text} (link {link})", row_id=row_id, link=link))
