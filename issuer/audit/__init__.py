"""The audit trail: events, and the hash chain that makes changes evident."""
