"""Refreshes whose tokens came twice in a row."""

from issuer.db.migrations import statements_beside

revision = "0003"
down_revision = "0002"
upgrade = statements_beside(__file__)
