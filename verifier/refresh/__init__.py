"""Refreshes key sets and status lists in the background, and publishes each change as an immutable snapshot."""
