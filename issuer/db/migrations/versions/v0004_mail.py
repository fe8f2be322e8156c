"""Several valid one-time tokens of a purpose, and a limit on the mails to one recipient."""

from pathlib import Path

from alembic import op

from issuer.db.queries import load_queries

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the statements beside this file, in their order."""
    for statement in load_queries(Path(__file__).with_suffix(".sql")).values():
        op.get_bind().exec_driver_sql(statement)
