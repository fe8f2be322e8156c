"""Properties that must hold for whatever anybody sends, and agreement with other implementations."""
