"""A bounded wait, and a prompt no beyond it."""

import asyncio
import threading
import time

import pytest

from issuer.admission import Admission, usable_cores
from issuer.errors import OverloadedError


def test_work_is_done_in_a_thread_and_its_result_comes_back() -> None:
    async def ask() -> bool:
        return await Admission(1, 1).run(lambda: threading.current_thread() is not threading.main_thread())

    assert asyncio.run(ask())


def test_an_error_of_the_work_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Admission(1, 1).run(lambda: 1 // 0))


def test_no_more_run_at_once_than_there_are_threads() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def ask() -> None:
        admission = Admission(2, 10)
        await asyncio.gather(*(admission.run(work) for _ in range(12)))

    asyncio.run(ask())
    assert most == 2


def test_a_turn_that_comes_too_late_is_refused_without_doing_the_work() -> None:
    refusals, done = [], []
    gate = threading.Event()

    async def ask() -> None:
        admission = Admission(1, 0.05, refused=lambda: refusals.append(1))
        first = asyncio.create_task(admission.run(gate.wait))
        late = asyncio.create_task(admission.run(lambda: done.append(1)))
        await asyncio.sleep(0.1)
        gate.set()
        await first
        with pytest.raises(OverloadedError) as refused:
            await late
        assert 1 <= refused.value.retry_after <= 3

    asyncio.run(ask())
    assert (len(refusals), done) == (1, [])


def test_what_cannot_have_its_turn_in_time_is_refused_at_once() -> None:
    async def ask() -> list[BaseException | None]:
        admission = Admission(1, 0.1)
        for _ in range(60):
            await admission.run(lambda: time.sleep(0.02))
        asked = [admission.run(lambda: time.sleep(0.02)) for _ in range(50)]
        begun = time.monotonic()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - begun < 1
        return results

    refused = [result for result in asyncio.run(ask()) if isinstance(result, OverloadedError)]
    assert 40 <= len(refused) < 50


def test_after_an_overload_work_is_admitted_again() -> None:
    async def ask() -> str:
        admission = Admission(1, 0.05)
        work = [admission.run(lambda: time.sleep(0.02)) for _ in range(20)]
        await asyncio.gather(*work, return_exceptions=True)
        return await admission.run(lambda: "again")

    assert asyncio.run(ask()) == "again"


def test_there_is_at_least_one_usable_core() -> None:
    assert usable_cores() >= 1
