"""Sessions and what belongs to them: revocations, clients, mail, throttles, the audit trail."""

from pathlib import Path

from alembic import op

from issuer.db.queries import load_queries

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the statements beside this file, in their order."""
    for statement in load_queries(Path(__file__).with_suffix(".sql")).values():
        op.get_bind().exec_driver_sql(statement)
