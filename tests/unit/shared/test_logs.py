"""Log lines: one JSON object for each event, whichever library it comes from."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from shared.logs import configure_logs
from tests.support.processes import ROOT


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def test_both_libraries_write_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("issuer", "info")
    with structlog.contextvars.bound_contextvars(request_id="an-id"):
        structlog.get_logger("ours").info("key_set_loaded", kids=["a"])
        logging.getLogger("theirs").warning("slow %s", "client")
    structlog.get_logger("ours").debug("left_out")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours.keys() - {"kids"} == theirs.keys()
    assert {name: ours[name] for name in ("event", "kids", "level", "process", "request_id")} == {
        "event": "key_set_loaded",
        "kids": ["a"],
        "level": "info",
        "process": "issuer",
        "request_id": "an-id",
    }
    assert (theirs["event"], theirs["level"], theirs["process"]) == ("slow client", "warning", "issuer")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_line_that_cannot_be_written_raises_nothing() -> None:
    program = (
        "import structlog; from shared.logs import configure_logs; configure_logs('issuer', 'info');"
        "structlog.get_logger().info('lost'); print('goes on')"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, timeout=30, check=False
        )
    assert done.stdout == b"goes on\n"
