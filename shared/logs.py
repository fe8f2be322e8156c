"""Logs as JSON lines on standard error, one event per line, from structlog and the standard library alike.

Nothing is redacted here: no secret is ever passed to a log call (tokens are identified by fingerprints, accounts by
ids), and tests search the whole output for secrets.
"""

import json
import logging
import sys
import traceback
from contextlib import suppress
from typing import Any, Final, Literal, TextIO

import structlog

_MAX_FRAMES: Final = 12

_encode: Final = json.JSONEncoder(default=repr).encode

LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logs(process: str, level: LogLevel) -> None:
    """Send every log record of this process to standard error as JSON.

    Args:
        process: `issuer` or `verifier`, repeated in each line.
        level: events below it are dropped.
    """

    def add_process(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
        structlog.processors.format_exc_info,
    ]
    # Not through `logging`, which takes longer to create a record than to write the line.
    structlog.configure(
        processors=[*steps, _to_json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: _LineLogger(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _to_json],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


class _LineLogger:
    """A logger that writes one rendered line for each event."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        """Write one line. A full disk or a closed pipe must not fail the request that is logged."""
        with suppress(OSError, ValueError):
            self._file.write(line + "\n")
            self._file.flush()

    debug = info = warning = error = critical = msg


def _to_json(_: Any, __: str, event: structlog.typing.EventDict) -> str:
    return _encode(event)


def frames_of(error: BaseException) -> list[str]:
    """Return where `error` was raised: the innermost frames, without any value."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-_MAX_FRAMES:]]
