"""Status lists all of whose bits are set."""

from issuer.db.migrations import statements_beside

revision = "0005"
down_revision = "0004"
upgrade = statements_beside(__file__)
