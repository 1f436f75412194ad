"""records of files and workflows come to say how their jobs ended, too

A file that a job has begun is `optimizing`, and is found by its job.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UNFINISHED = {"workflow_run": "finished_at IS NULL", "file": "status = 'optimizing'"}


def upgrade() -> None:
    for table, words in UNFINISHED.items():
        where = sa.text(words)
        op.create_index(f"ix_{table}_unfinished", table, ["id"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_file_job_id", "file", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_file_job_id", "file")
    for table in UNFINISHED:
        op.drop_index(f"ix_{table}_unfinished", table)
    # Codes of before know neither.
    op.execute("update file set status = 'uploaded' where status in ('optimizing', 'failed', 'cancelled')")
