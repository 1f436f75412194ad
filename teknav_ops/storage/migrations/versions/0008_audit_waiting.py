"""how long a job waited, in AuditLog"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("waited_ms", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("audit_log", "waited_ms")
