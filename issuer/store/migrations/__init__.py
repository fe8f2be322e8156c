"""Alembic's environment and our revisions. Run by `issuer.store.migration` alone, never by Alembic's own command."""
