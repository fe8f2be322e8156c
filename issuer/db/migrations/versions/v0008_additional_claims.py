"""Additional claims of accounts and clients."""

from issuer.db.migrations import statements_beside

revision = "0008"
down_revision = "0007"
upgrade = statements_beside(__file__)
