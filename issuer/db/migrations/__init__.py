"""Alembic's environment and our revisions. Run by `issuer.db.migrate` alone, never by Alembic's own command."""
