"""AuditLog with its chain as a file: what an auditor takes away, and verifies without the database.

Lines of bytes, gzipped. The first says what they are, and all that links say of others (their facts, and the newest
checkpoint), so that the file is read once; then each link (`L`) with its rows (`R`, as `lines` has them) behind it. Of
a row that was sealed while its action was under way, a line (`F`) without the end goes before it.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from sqlalchemy.orm import Session

from teknav_ops.audit.chain.database_source import DatabaseSource
from teknav_ops.audit.chain.lines import BEFORE_ALL, COLUMNS, digest, id_of, is_open, read_lines, read_some
from teknav_ops.audit.chain.links import NO_FACTS, Facts, Link, facts_of_links
from teknav_ops.audit.chain.verification import UnreadableLink
from teknav_ops.durable_files import new_file
from teknav_ops.errors import InvalidRequest

_FORMAT: Final = "teknav audit export 2"
_MOMENTS: Final = ("newest_at", "sealed_at")
_BYTES: Final = ("ids", "digests")


def write_export(session: Session, path: Path, *, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Write all that is sealed into a new file, open to its owner only, which has its name once it is whole. Answers
    how many rows.

    Raises:
        InvalidRequest: the file is there already, or cannot be written.
        StorageUnavailable: the database did not answer.
    """
    try:
        with (
            new_file(path, mode=0o600) as file,
            gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed,
        ):
            return _write(session, packed, on_progress)
    except OSError as error:
        raise InvalidRequest(f"file: {path} cannot be written: {error.strerror}") from None


def _write(session: Session, packed: gzip.GzipFile, on_progress: Callable[[int], None]) -> int:
    source = DatabaseSource(session)
    dialect = session.get_bind().dialect.name
    checkpoint, count = source.pruned(), 0
    number = (checkpoint and checkpoint.pruned_to_number) or 0
    head = {
        "format": _FORMAT,
        "at": datetime.now(UTC).isoformat(),
        "database": dialect,
        "columns": COLUMNS,
        "facts": [facts.text() for facts in facts_of_links(session, number)],
        "checkpoint": checkpoint and _dump(checkpoint).decode(),
    }
    packed.write(json.dumps(head).encode() + b"\n")
    last_id = checkpoint.pruned_to_id if checkpoint and checkpoint.pruned_to_id is not None else BEFORE_ALL
    for link in (link for links in source.links(number) for link in links):
        if isinstance(link, UnreadableLink):
            raise InvalidRequest(f"link {link.number} of the chain cannot be read; see `teknav audit verify`")
        packed.write(b"L " + _dump(link) + b"\n")
        opened = Facts.of(link.facts).opened
        for line in read_some(session, opened, without_end=True).values():
            packed.write(b"F " + line + b"\n")
        for line in read_lines(session, last_id, link.last_id):
            packed.write(b"R " + line + b"\n")
            count += 1
        last_id = link.last_id
        on_progress(count)
    return count


def _dump(link: Link) -> bytes:
    values: dict[str, Any] = dataclasses.asdict(link)
    values |= {name: base64.b64encode(values[name]).decode() for name in _BYTES}
    values |= {name: values[name] and values[name].isoformat() for name in _MOMENTS}
    return json.dumps(values).encode()


def _load(text: bytes | str) -> Link:
    values = json.loads(text)
    values |= {name: base64.b64decode(values[name]) for name in _BYTES}
    values |= {name: values[name] and datetime.fromisoformat(values[name]) for name in _MOMENTS}
    return Link.checked(values)


def _is_checkpoint(link: Link) -> bool:
    return link.pruned_to_number is not None and link.pruned_to_id is not None


class ExportSource:
    """An export as what is verified, read once and never held whole. Raises InvalidRequest where it is none."""

    is_file = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = self._read()
        try:
            head = json.loads(next(self._lines)[1])
            if head["format"] != _FORMAT:
                raise ValueError(f"its format is {head['format']!r}")
            self._told = [Facts.of(each) for each in head["facts"]]
            self._checkpoint = None if head["checkpoint"] is None else _load(head["checkpoint"])
            if self._checkpoint is not None and not _is_checkpoint(self._checkpoint):
                raise ValueError("its checkpoint is none")
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            raise InvalidRequest(f"file: {path} is no export of the audit trail: {error}") from None
        #: The link that stands behind the rows which were read last.
        self._next: Link | None = None
        self._fixed: dict[int, str] = {}

    def _read(self) -> Iterator[tuple[bytes, bytes]]:
        """Each line's kind and text; the head has no kind."""
        try:
            with gzip.open(self._path) as file:
                yield b"", file.readline()
                for line in file:
                    kind, _, text = line.rstrip(b"\n").partition(b" ")
                    yield kind, text
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidRequest(f"file: {self._path} cannot be read, or is damaged: {error}") from None

    def pruned(self) -> Link | None:
        """The newest checkpoint."""
        return self._checkpoint

    def facts(self) -> Iterable[Facts]:
        """The facts of all links, in order, as the file's head has them; `links` compares them with the links."""
        return self._told

    def vouching(self, after_number: int) -> Iterable[Link]:
        """Nothing: a file is read to its end."""
        return ()

    def before_newest(self, count: int) -> Link | None:
        """Nothing: a file is read whole."""
        return None

    def links(self, after_number: int) -> Iterator[list[Link | UnreadableLink]]:
        """Links in order, one at a time."""
        told, checkpoint = iter(self._told), None
        self.lines(0, 0)
        while (link := self._next) is not None:
            if link.number <= after_number:
                self._refuse(f"link {link.number} stands behind the checkpoint that says it is gone")
            if link.facts != NO_FACTS and next(told, None) != Facts.of(link.facts):
                self._refuse(f"its head does not say what link {link.number} says")
            if _is_checkpoint(link):
                checkpoint = link
            yield [link]
            if self._next is link:
                # Nobody asked for its rows.
                self.lines(0, 0)
        if next(told, None) is not None or checkpoint != self._checkpoint:
            self._refuse("its head says more than its links")

    def lines(self, after_id: int, up_to_id: int) -> list[bytes]:
        """The rows behind the link that was given last, whatever their ids."""
        rows: list[bytes] = []
        self._next, self._fixed = None, {}
        for kind, text in self._lines:
            if kind == b"L":
                self._next = self._link(text)
                break
            if kind in (b"F", b"R"):
                self._check_row(text)
                if kind == b"R":
                    rows.append(text)
                else:
                    self._fixed[id_of(text)] = digest(text).hex()
        return rows

    def _link(self, text: bytes) -> Link:
        try:
            return _load(text)
        except (ValueError, KeyError, TypeError) as error:
            self._refuse(f"it holds a link that is none: {error}")

    def _check_row(self, text: bytes) -> None:
        try:
            id_of(text)
            is_open(text)
        except (ValueError, LookupError) as error:
            self._refuse(f"it holds a row that is none: {error}")

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidRequest(f"file: {self._path}: {why}")

    def without_end(self, ids: list[int]) -> dict[int, str]:
        """Of rows, the digest of what does not change when their action ends."""
        return {row_id: self._fixed[row_id] for row_id in ids if row_id in self._fixed}

    def left_behind(self, checkpoint: Link) -> list[int]:
        """Nothing: what was deleted is not exported."""
        return []

    def unsealed(self, after_id: int) -> int:
        """Nothing: only what is sealed is exported."""
        return 0
