"""The use cases of sessions on a database of each test."""

from tests.support.session_bench import bench

__all__ = ["bench"]
