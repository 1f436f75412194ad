"""queues, quotas and owners of tokens"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

#: Until now a token belonged to the user of the name that made it, if there was one.
OWNERS = sa.text(
    "UPDATE access_token SET owner_id = (SELECT id FROM access_user WHERE access_user.name = access_token.created_by)"
)


def upgrade() -> None:
    # Who was there before was limited to nothing.
    every_queue = sa.text("'[\"*\"]'")
    op.add_column("access_token", sa.Column("queues", sa.JSON(), server_default=every_queue, nullable=False))
    for name in ("jobs_per_minute", "backlog_limit", "owner_id"):
        op.add_column("access_token", sa.Column(name, sa.Integer(), nullable=True))
    op.execute(OWNERS)


def downgrade() -> None:
    for name in ("owner_id", "backlog_limit", "jobs_per_minute", "queues"):
        op.drop_column("access_token", name)
