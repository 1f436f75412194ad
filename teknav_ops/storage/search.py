"""The search index: one document per article and language, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection
from importlib import resources
from typing import Any, Final

from sqlalchemy import Row, delete, text
from sqlalchemy.orm import Session

from teknav_ops.errors import InvalidRequest
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.passages import find_passage
from teknav_ops.storage.persian_terms import Alternatives, asked_terms, index_text
from teknav_ops.storage.tables import SearchDocument
from teknav_ops.storage.tables.base import utc_now

QUERY_LIMIT_CHARACTERS: Final = 300
_WORD_LIMIT: Final = 12
#: PostgreSQL holds 1 MB per document, of which short words take twice their length.
_MATCHED_LIMIT_BYTES: Final = 400_000


@dataclasses.dataclass(frozen=True, slots=True)
class SearchHit:
    """One text that answers a query.

    `snippet` is the passage around the first word found, in the text's own spelling and not escaped;
    `highlights` are the (start, end) of the matching words in it.
    """

    article_id: int
    language: str
    title: str
    snippet: str
    score: float
    highlights: tuple[tuple[int, int], ...] = ()


def put_document(
    session: Session, *, article_id: int, language: str, title: str, body: str, version: int, job_id: str
) -> bool:
    """Write a document unless the index holds a newer version of it. False when it does.

    Of a body longer than 400,000 bytes, the words beyond are not found.
    """
    values: dict[str, Any] = {
        "article_id": article_id,
        "language": language,
        "title": title,
        "body": body,
        "normalised_title": index_text(title),
        "normalised": _matched_part(index_text(body)),
        "version": version,
        "job_id": job_id,
        "indexed_at": utc_now(),
    }
    statement = insert_into(session, SearchDocument).values(values)
    # The version is compared by the database: two jobs for one article may write at once.
    upsert = statement.on_conflict_do_update(
        index_elements=["article_id", "language"],
        set_={name: statement.excluded[name] for name in values if name not in ("article_id", "language")},
        where=SearchDocument.version <= statement.excluded.version,
    )
    return session.execute(upsert.returning(SearchDocument.id)).first() is not None


def delete_documents(session: Session, article_id: int, *, except_languages: Collection[str] = ()) -> int:
    """Take an article out of the index, save for some languages. Answers how many documents went."""
    statement = delete(SearchDocument).where(SearchDocument.article_id == article_id)
    if except_languages:
        statement = statement.where(SearchDocument.language.not_in(except_languages))
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]


@functools.cache
def _sql(name: str) -> str:
    source = resources.files("teknav_ops.storage").joinpath("sql", f"{name}.sql").read_text("utf-8")
    # The header names the parameters, and SQLAlchemy would bind them there too.
    return "\n".join(line for line in source.splitlines() if not line.startswith("--"))


def search(
    database: Database, query: str, *, language: str | None = None, limit: int = 10, offset: int = 0
) -> list[SearchHit]:
    """Texts that hold every word of the query in one of its forms (the last one as a beginning), best first.

    Raises:
        InvalidRequest: an over-long query, or a limit out of range.
        StorageUnavailable: the database did not answer.
    """
    if len(query) > QUERY_LIMIT_CHARACTERS:
        raise InvalidRequest(f"query: {len(query)} characters is over the limit of {QUERY_LIMIT_CHARACTERS}")
    if not 1 <= limit <= 100 or offset < 0:
        raise InvalidRequest("limit: must be 1 to 100, and offset not negative")
    asked = asked_terms(query)[:_WORD_LIMIT]
    if not asked:
        return []
    name = "search_sqlite" if database.is_sqlite else "search_postgresql"
    values = {"match": _match(asked, database.is_sqlite), "language": language or "", "limit": limit, "offset": offset}
    with database.reading() as session:
        rows = session.execute(text(_sql(name)), values).all()
    return [_hit(row, asked) for row in rows]


def _hit(row: Row[Any], asked: list[Alternatives]) -> SearchHit:
    wanted = {word for alternatives in asked for form in alternatives for word in form}
    passage = find_passage(row.body, wanted, (asked[-1][0][-1],))
    return SearchHit(row.article_id, row.language, row.title, passage.text, row.score, passage.highlights)


def _matched_part(normalised: str) -> str:
    return normalised.encode()[:_MATCHED_LIMIT_BYTES].decode(errors="ignore")


def _match(asked: list[Alternatives], is_sqlite: bool) -> str:
    """The words as the database's own expression. They hold only word characters: nothing to escape."""
    quote, both, either, beginning = ('"', " AND ", " OR ", "*") if is_sqlite else ("'", " & ", " | ", ":*")
    terms = []
    for at, alternatives in enumerate(asked):
        forms = [both.join(f"{quote}{word}{quote}" for word in form) for form in alternatives]
        if at == len(asked) - 1:
            # A stem says nothing of how its word begins.
            forms[0] += beginning
        terms.append("(" + either.join(f"({form})" for form in forms) + ")")
    return both.join(terms)
