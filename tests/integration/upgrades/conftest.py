"""Fixtures: one PostgreSQL for the session."""

from tests.support.postgres import postgres

__all__ = ["postgres"]
