"""`make promises`: every published bound, measured at its value."""
