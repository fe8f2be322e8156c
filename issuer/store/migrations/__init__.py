"""Alembic's environment and our revisions. Run by `issuer.store.schema` alone, never by Alembic's own command."""
