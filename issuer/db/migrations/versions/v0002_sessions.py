"""Sessions and what belongs to them: revocations, clients, mail, throttles, the audit trail."""

from issuer.db.migrations import statements_beside

revision = "0002"
down_revision = "0001"
upgrade = statements_beside(__file__)
