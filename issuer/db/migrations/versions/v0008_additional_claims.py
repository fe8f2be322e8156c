"""Additional claims of accounts and clients."""

from pathlib import Path

from alembic import op

from issuer.db.queries import load_queries

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the statements beside this file, in their order."""
    for statement in load_queries(Path(__file__).with_suffix(".sql")).values():
        op.get_bind().exec_driver_sql(statement)
