"""Real servers and hand-made tokens for tests; no mocks."""
