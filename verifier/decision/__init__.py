"""Decisions about tokens. Pure: no I/O, no clock, no configuration parsing."""
