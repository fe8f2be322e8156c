"""Fixtures of every test."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog

_TESTS: Final = Path(__file__).parent
_LONGEST: Final = (
    "chaos/test_chaos.py",
    "integration/guides/test_guides.py",
    "integration/gateways/test_browser.py",
    "integration/images/test_containers.py",
    "integration/high_availability/test_patroni.py",
    "integration/load/test_load.py",
    "integration/issuer/test_secrets.py",
    "models/test_issuer.py",
    "integration/stack/test_starting_and_stopping.py",
    "integration/issuer/db/test_failover.py",
    "models/test_rate_limits.py",
)
"""Files that take longest. They run first, so that no process waits for the last of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {_TESTS / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
