"""Several valid one-time tokens of a purpose, and a limit on the mails to one recipient."""

from issuer.db.migrations import statements_beside

revision = "0004"
down_revision = "0003"
upgrade = statements_beside(__file__)
