"""Alembic's entry: runs migrations on the connection that `schema.upgrade` hands over."""

from alembic import context

from teknav_ops.storage.tables import Base


def is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    """The full-text index's own tables are SQLite's business."""
    return not (kind in ("table", "index") and (name or "").startswith("search_text"))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_object=is_ours,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
