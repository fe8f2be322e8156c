"""Keeps key sets and status lists current in the background, and publishes each change as an immutable snapshot."""
