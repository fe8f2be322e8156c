"""Sessions: created, refreshed, revoked and listed."""
