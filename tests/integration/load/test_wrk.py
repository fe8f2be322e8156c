from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from loadtests.bench.wrk import Measurement, parse_output, send
from loadtests.processes import InvalidRunError
from tests.support.bench_programs import core
from tests.support.http_listener import Handler, serving
from tests.support.programs import program
from tests.unit.loadtests.samples import measurement


@pytest.fixture(name="wrk")
def _wrk() -> None:
    program("wrk")


OUTPUT = """Running 1s test @ http://127.0.0.1:18090/verify
  1 threads and 32 connections
Requests/sec: 175762.02
result {"requests": 369094, "requests_per_second": 184547.0, "p50_ms": 0.130, "p90_ms": 0.201, "p99_ms": 0.254, \
"p999_ms": 1.382, "max_ms": 2.621, "error_responses": 0, "socket_errors": 10}
"""


def test_the_result_line_is_read() -> None:
    result = parse_output(OUTPUT)
    assert result == Measurement(369_094, 184_547.0, 0.130, 0.201, 0.254, 1.382, 2.621, 0, 10)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1", "results are in"])
def test_output_without_a_result_is_an_error_and_never_a_zero(output: str) -> None:
    with pytest.raises(InvalidRunError, match="no result"):
        parse_output(output)


@pytest.mark.parametrize(
    ("faulty", "named"),
    [
        (measurement(errors=7), "7 responses of 400 and above"),
        (measurement(lost=3), "3 socket errors"),
        (measurement(rate=0), "no responses"),
    ],
)
def test_rejected_or_lost_requests_void_the_run(faulty: Measurement, named: str) -> None:
    with pytest.raises(InvalidRunError, match=f"envoy, 32 connections: {named}"):
        faulty.ensure_clean("envoy, 32 connections")


class _Recorder(Handler):
    """A handler that responds 200 to tokens that start with `accepted`, else 401, and records the requests."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str | None, str | None]]] = []

    def on_request(self) -> None:
        token, request_id = self.headers["Authorization"], self.headers["X-Request-Id"]
        self.seen.append((token, request_id))
        self.respond(200 if token and token.startswith("Bearer accepted") else 401)


@contextmanager
def _recorder() -> Iterator[str]:
    _Recorder.seen.clear()
    with serving(_Recorder) as url:
        yield f"{url}/verify"


@pytest.mark.usefixtures("wrk")
def test_wrk_cycles_through_the_tokens_and_no_two_heads_are_alike(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("accepted-1\naccepted-2\n")
    with _recorder() as url:
        result = send(2, url=url, tokens=tmp_path / "tokens", core=core(), seconds=1)
    result.ensure_clean("no failure")
    assert 0 < result.requests_per_second < 1.5 * result.requests
    assert 0 < result.p50_ms <= result.p90_ms <= result.p99_ms <= result.p999_ms <= result.max_ms < 10_000
    assert {token for token, _ in _Recorder.seen} == {"Bearer accepted-1", "Bearer accepted-2"}
    assert len(set(_Recorder.seen)) == len(_Recorder.seen)


@pytest.mark.usefixtures("wrk")
def test_wrk_counts_every_rejection(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("accepted\nrejected\n")
    with _recorder() as url:
        result = send(1, think_ms=2, url=url, tokens=tmp_path / "tokens", core=core(), seconds=1)
    assert result.error_responses == pytest.approx(result.requests / 2, abs=1)
    with pytest.raises(InvalidRunError, match="responses of 400 and above"):
        result.ensure_clean("half of them")
