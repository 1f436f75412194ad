"""What happens as SQL reaches a moment: for tests that kill something just then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy import event

from teknav_ops.storage.database import Database


@contextlib.contextmanager
def at_commit_of(database: Database, statement: str, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` as the first transaction commits in which a statement that begins so was executed."""
    seen: list[str] = []

    def note(_: object, __: object, executed: str, *more: object) -> None:
        seen.extend([executed] if executed.startswith(statement) else [])

    def commit(_: object) -> None:
        if seen:
            seen.clear()
            act()

    listeners = {"after_cursor_execute": note, "commit": commit}
    for name, hear in listeners.items():
        event.listen(database.engine, name, hear)
    yield
    for name, hear in listeners.items():
        event.remove(database.engine, name, hear)
