"""Outages of the verifier: while it is down, silent or slow, the gateway rejects every request, then recovers."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import Difference
from tests.support.gateways import GATEWAYS, Verifier, running_gateway
from tests.support.processes import paused, wait_until
from tests.support.taps import Tap, tapped


@pytest.fixture
def to_application(application: int) -> Iterator[Tap]:
    with tapped(application) as tap:
        yield tap


@pytest.fixture(params=GATEWAYS)
def lonely(request: pytest.FixtureRequest, tmp_path: Path, to_application: Tap) -> Iterator[Gateway]:
    """Yield a gateway whose verifier is not running yet."""
    verifier = Verifier(tmp_path)
    with running_gateway(request.param, tmp_path, verifier.port, to_application.port) as port:
        yield Gateway(request.param, port, verifier)


def test_without_a_verifier_no_request_passes_until_it_returns(lonely: Gateway, to_application: Tap) -> None:
    token = lonely.token()
    gone = HTTPStatus.BAD_GATEWAY if _distinguishes(lonely) else HTTPStatus.SERVICE_UNAVAILABLE
    assert lonely.ask(token=token).status == gone
    assert lonely.ask().status == gone
    assert to_application.sent == b""
    with lonely.verifier.running():
        wait_until(lambda: lonely.ask(token=token).status == 200, "open")
        assert lonely.ask().status == 401
    to_application.clear()
    assert lonely.ask(token=token).status == gone
    assert to_application.sent == b""
    with lonely.verifier.running():
        wait_until(lambda: lonely.ask(token=token).status == 200, "open again")


def test_a_hanging_verifier_is_a_timely_rejection(lonely: Gateway, to_application: Tap) -> None:
    token = lonely.token()
    with ExitStack() as stack:
        verifier = stack.enter_context(lonely.verifier.running())
        wait_until(lambda: lonely.ask(token=token).status == 200, "open")
        with paused(verifier.process):
            to_application.clear()
            asked = time.monotonic()
            slow = HTTPStatus.GATEWAY_TIMEOUT if _distinguishes(lonely) else HTTPStatus.SERVICE_UNAVAILABLE
            assert lonely.ask(token=token).status == slow
            assert time.monotonic() - asked < 5
            assert to_application.sent == b""
        wait_until(lambda: lonely.ask(token=token).status == 200, "open again")


def _distinguishes(gateway: Gateway) -> bool:
    return gateway.differs(Difference.DISTINGUISHES_VERIFIER_FAILURES)
