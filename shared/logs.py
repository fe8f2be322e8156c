"""Logs as JSON lines on standard error, one event a line, from structlog and the standard library alike.

Nothing here redacts: a secret never reaches a log call in the first place (a token is named by its
fingerprint, an account by its id), and tests read the whole output for it.
"""

import logging
import sys
import traceback
from typing import Any, Final, Literal

import structlog

_MAX_FRAMES: Final = 12

LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logs(process: str, level: LogLevel) -> None:
    """Send every log record of this process to standard error as JSON.

    Args:
        process: `issuer` or `verifier`, repeated in each line.
        level: what is below it is dropped.
    """

    def add_process(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def frames_of(error: BaseException) -> list[str]:
    """Return where `error` was raised: the innermost frames, without any value."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-_MAX_FRAMES:]]
