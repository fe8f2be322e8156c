"""Public clients, and sessions that are limited to audiences and scopes."""

from issuer.db.migrations import statements_beside

revision = "0007"
down_revision = "0006"
upgrade = statements_beside(__file__)
