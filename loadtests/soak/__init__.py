"""The soak test: a mixed load for an hour or more, and whether anything grows that should not."""
