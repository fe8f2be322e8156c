"""Rate-limit counters under their own name: they count registrations and mail requests too, not only failures."""

from issuer.db.migrations import statements_beside

revision = "0006"
down_revision = "0005"
upgrade = statements_beside(__file__)
