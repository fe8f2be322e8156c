"""An unreachable collector is logged without filling the log."""

import logging

from issuer.telemetry.otlp import RateLimitFilter


def test_a_repeated_log_line_is_written_once_a_minute() -> None:
    moments = iter([100.0, 100.1, 159.0, 160.0, 219.9, 300.0])
    once_a_minute = RateLimitFilter(lambda: next(moments))
    record = logging.makeLogRecord({})
    assert [once_a_minute.filter(record) for _ in range(6)] == [True, False, False, True, False, True]
