"""The log has the ids of a request, and never those of another one."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.support.listening_server import ListeningServer, listening_server
from tests.support.raw_http import request

pytestmark = pytest.mark.anyio

TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT: Final = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
async def it() -> AsyncIterator[ListeningServer]:
    async with listening_server() as server:
        yield server


async def _logged(it: ListeningServer, *lines: str) -> tuple[str, str | None]:
    with capture_logs() as logged:
        await it.send(request("/verify", *lines))
        assert (await it.response()).status == 401
    (line,) = logged
    return line["request_id"], line.get("trace_id")


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("others", [[], ["Origin: https://app.example"]], ids=["no browser", "browser"])
async def test_both_ids_are_logged(it: ListeningServer, change: Callable[[str], str], others: list[str]) -> None:
    lines = [*others, f"{change('X-Request-Id')}: gateway-0001", f"{change('traceparent')}: {TRACEPARENT}"]
    assert await _logged(it, *lines) == ("gateway-0001", TRACE_ID)
    await it.send(request("/verify", *lines, it.token))
    assert (await it.response()).status == 200


async def test_an_id_that_is_there_twice_counts_as_none(it: ListeningServer) -> None:
    twice = ["X-Request-Id: gateway-0001"] * 2
    assert (await _logged(it, *twice))[0] != "gateway-0001"
    assert await _logged(it, *[f"traceparent: {TRACEPARENT}"] * 2, twice[0]) == ("gateway-0001", None)


async def test_ids_belong_to_one_request(it: ListeningServer) -> None:
    assert (await _logged(it, "X-Request-Id: gateway-0001", f"traceparent: {TRACEPARENT}"))[1] == TRACE_ID
    request_id, trace_id = await _logged(it)
    assert (request_id != "gateway-0001", trace_id) == (True, None)
