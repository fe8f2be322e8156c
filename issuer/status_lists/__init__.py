"""Token Status Lists: which tokens are revoked, allocated and published."""
