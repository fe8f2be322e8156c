"""Tests of everything that the contracts promise, against real components."""
