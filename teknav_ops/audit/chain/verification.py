"""What verifying the chain asks of its source, and what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from teknav_ops.audit.chain.links import Facts, Link

#: Findings that are told one by one; all are counted.
FINDINGS_TOLD: Final = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was written. `kind`: `changed`, `removed` or `inserted` for a row, else `link`,
    `signature` or `expected`.
    """

    kind: str
    text: str
    row_id: int | None = None
    link: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class UnreadableLink:
    """A link that holds what its columns cannot hold."""

    number: int


class Source(Protocol):
    """Where rows and links are. `is_file`: links are given one at a time, and its rows with each."""

    is_file: bool

    def pruned(self) -> Link | None:
        """The newest checkpoint."""

    def facts(self) -> Iterable[Facts]:
        """The facts of all links, in order."""

    def vouching(self, after_number: int) -> Iterable[Link]:
        """Links behind one that vouch for others."""

    def before_newest(self, count: int) -> Link | None:
        """The link before so many of the newest; None when there are no more than these."""

    def links(self, after_number: int) -> Iterator[list[Link | UnreadableLink]]:
        """Links in order, some at a time."""

    def lines(self, after_id: int, up_to_id: int) -> list[bytes]:
        """The rows of a range, which follows the one before, by id. A file gives what it holds behind the next link."""

    def without_end(self, ids: list[int]) -> dict[int, str]:
        """Of rows, the digest of what does not change when their action ends."""

    def left_behind(self, checkpoint: Link) -> list[int]:
        """Ids of rows that a checkpoint says are gone, once retention has deleted them all."""

    def unsealed(self, after_id: int) -> int:
        """How many rows are newer than the last link."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Verification:
    """What came of it. `newest` is the last link as `NUMBER:HASH`: keep it elsewhere, and expect it next time."""

    row_count: int = 0
    link_count: int = 0
    unsealed_count: int = 0
    pruned_to_id: int | None = None
    newest: str | None = None
    finding_count: int = 0
    findings: list[Finding] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return not self.finding_count

    @property
    def rows_per_second(self) -> float:
        """How fast it went."""
        return self.row_count / self.seconds if self.seconds else 0.0

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while it is one of the first."""
        self.finding_count += 1
        if len(self.findings) < FINDINGS_TOLD:
            self.findings.append(finding)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Of the chain: what stands behind a link (None: from the beginning), and about so much of it."""

    before: Link | None
    #: The end of the chain: what comes to it is no part any more.
    last_number: int
    row_limit: int
    link_limit: int = 2_000

    def is_done(self, found: Verification, number: int) -> bool:
        """Whether that is enough, up to the link of this number."""
        is_enough = found.row_count >= self.row_limit or found.link_count >= self.link_limit
        return is_enough and number < self.last_number
