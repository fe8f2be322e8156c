"""The times of sessions in responses."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from issuer.sessions.routes import _format_time


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test in a time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
def test_times_are_in_utc_wherever_the_issuer_runs() -> None:
    noon = datetime(2026, 3, 1, 12, 30, 15, 999_999, tzinfo=UTC)
    assert _format_time(noon) == "2026-03-01T12:30:15Z"
    assert _format_time(noon.astimezone(timezone(timedelta(hours=-5)))) == "2026-03-01T12:30:15Z"
