"""Accounts."""

from issuer.db.migrations import statements_beside

revision = "0001"
down_revision = None
upgrade = statements_beside(__file__)
