"""Functions that all commands of the load tests use."""

import argparse
import signal
from collections.abc import Iterator

import pytest

from loadtests.command import between, exit_status
from loadtests.processes import CannotStartError, InvalidRunError, ProcessError
from loadtests.tables import table


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (CannotStartError("install wrk"), 2, "bench: install wrk\n"),
        (ProcessError("envoy ended with 1"), 1, "bench: no result: envoy ended with 1 (ProcessError)\n"),
        (InvalidRunError("a wrong response"), 1, "bench: no result: a wrong response (InvalidRunError)\n"),
        (TimeoutError("slow"), 1, "bench: no result: slow (TimeoutError)\n"),
        (KeyboardInterrupt(), 130, "bench: interrupted; everything that was started is stopped\n"),
    ],
)
def test_a_run_without_a_result_says_why(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert exit_status("bench", fail) == status
    assert capsys.readouterr().err == message


def test_a_run_with_a_result_has_its_own_status() -> None:
    assert exit_status("load", lambda: 1) == 1


def test_sigterm_interrupts_a_run() -> None:
    def wait() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    assert exit_status("load", wait) == 130


@pytest.mark.parametrize("text", ["0", "11", "many"])
def test_numbers_outside_a_range_are_rejected(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from 1 to 10"):
        between(1, 10)(text)
    assert between(0.5, 10, float)("0.5") == 0.5


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    assert table(["", "ms", "result"], [("login", "12.5 (1-2)", "met"), ("me", "-", "")]).splitlines() == [
        "|       |         ms | result |",
        "| ----- | ---------: | ------ |",
        "| login | 12.5 (1-2) | met    |",
        "| me    |          - |        |",
    ]
