"""Properties of any input, and agreement with other implementations."""
