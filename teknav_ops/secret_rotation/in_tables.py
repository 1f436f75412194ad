"""Sealed values in the database, a page of rows per transaction.

A value is replaced only while it is what was read: one that somebody changes at the same time stays theirs.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select, update

from teknav_ops.payloads.key_ring import KeyRing
from teknav_ops.secret_rotation.sealed_values import SECOND_FACTORS, WEBHOOK_SECRETS, SealedValues
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AccessTotp, WebhookEndpoint

_ROWS_AT_ONCE: Final = 500
#: Kind, primary key, sealed columns.
SEALED_COLUMNS: Final[tuple[tuple[str, Any, tuple[Any, ...]], ...]] = (
    (WEBHOOK_SECRETS, WebhookEndpoint.id, (WebhookEndpoint.sealed_secret, WebhookEndpoint.previous_sealed_secret)),
    (SECOND_FACTORS, AccessTotp.user_id, (AccessTotp.sealed_key,)),
)


def walk_tables(database: Database, keys: KeyRing, found: SealedValues, *, reseals: bool) -> None:
    """Count the sealed values of all rows and, if wished, put those of older keys under the current one.

    Raises:
        StorageUnavailable: the database did not answer. What was committed is done; the next walk goes on.
    """
    for kind, row_id, columns in SEALED_COLUMNS:
        last = None
        while True:
            page = select(row_id, *columns).order_by(row_id).limit(_ROWS_AT_ONCE)
            with database.session() if reseals else database.reading() as session:
                rows = session.execute(page if last is None else page.where(row_id > last)).all()
                for key, *tokens in rows:
                    for column, token in zip(columns, tokens, strict=True):
                        opener = None if token is None else keys.opener(token)
                        if token is not None:
                            found.add(kind, opener, f"{column.table.name} {key}")
                        if reseals and opener not in (None, keys.ids[0]):
                            same = (row_id == key, column == token)
                            session.execute(update(column.class_).where(*same).values({column: keys.resealed(token)}))
            if len(rows) < _ROWS_AT_ONCE:
                break
            last = rows[-1][0]
