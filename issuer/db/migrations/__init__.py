"""Alembic's environment and our revisions. Run by `issuer.db.migrate` alone, never by Alembic's own command."""

from collections.abc import Callable
from pathlib import Path

from alembic import op

from issuer.db.queries import load_queries


def statements_beside(module: str) -> Callable[[], None]:
    """Return the `upgrade` of a revision: it runs the `.sql` file beside `module`."""

    def upgrade() -> None:
        for statement in load_queries(Path(module).with_suffix(".sql")).values():
            op.get_bind().exec_driver_sql(statement)

    return upgrade
