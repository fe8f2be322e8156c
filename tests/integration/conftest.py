"""Fixtures: one PostgreSQL for the session, and an issuer for each module that asks for one."""

from tests.support.issuer_process import issuer
from tests.support.postgres import database_url, postgres

__all__ = ["database_url", "issuer", "postgres"]
