"""which queues a user's role is for"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Who was there before was limited to nothing.
    op.add_column("access_user", sa.Column("queues", sa.JSON(), server_default=sa.text("'[\"*\"]'"), nullable=False))


def downgrade() -> None:
    op.drop_column("access_user", "queues")
