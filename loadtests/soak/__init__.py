"""The soak test: a mixed load for an hour or more, and a check that nothing grows without bound."""
