"""The OAuth 2.0 endpoints (RFC 6749, 7009, 7523, 7662, 8414) and their clients."""
