"""Properties that hold for any input, and agreement with other implementations."""
