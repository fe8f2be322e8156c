"""Real servers and tokens for tests; no mocks."""
