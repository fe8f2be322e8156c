"""Checks of everything that the issues and contracts promise, against real components."""
