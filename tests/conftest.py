"""Fixtures of every test."""

import sys
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    """Reset the configuration of structlog after each test, also in loggers that were used under another one."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        for module in list(sys.modules.values()):
            # `cache_logger_on_first_use` stores the configured logger there, and capture_logs would see nothing.
            getattr(getattr(module, "_log", None), "__dict__", {}).pop("bind", None)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of asynchronous tests and fixtures."""
    return "asyncio"
