"""A bounded wait, and a prompt no beyond it."""

import asyncio
import threading
import time

import pytest
import structlog

from issuer.errors import CapacityError, OverloadedError
from issuer.passwords.hash_queue import Admission, Asker, Turns, Urgency, check_memory, usable_cores, usable_memory


def test_work_is_done_in_a_thread_and_its_result_comes_back() -> None:
    async def ask() -> bool:
        return await Admission(1, 1).run(lambda: threading.current_thread() is not threading.main_thread())

    assert asyncio.run(ask())


def test_what_the_work_logs_says_of_which_request_it_is() -> None:
    async def ask(request_id: str, admission: Admission) -> object:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return (await admission.run(structlog.contextvars.get_contextvars))["request_id"]

    async def ask_all() -> list[object]:
        admission = Admission(1, 1)
        return await asyncio.gather(*(ask(f"request {number}", admission) for number in range(3)))

    assert asyncio.run(ask_all()) == ["request 0", "request 1", "request 2"]


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


def test_the_first_burst_is_bounded_after_a_calibration() -> None:
    async def ask() -> list[BaseException | None]:
        admission = Admission(1, 0.1)
        assert await admission.calibrate(lambda: time.sleep(0.05)) >= 0.05
        work = [admission.run(lambda: time.sleep(0.05)) for _ in range(50)]
        return await asyncio.gather(*work, return_exceptions=True)

    assert sum(isinstance(result, OverloadedError) for result in asyncio.run(ask())) >= 47


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


def order(turns: Turns, *askers: Asker) -> list[int]:
    """In which order they have their turn, by their places on arrival."""
    tickets = [turns.join(asker) for asker in askers]
    return [tickets.index(ticket) for ticket in iter(turns.next, None)]


def test_one_client_is_served_in_the_order_of_arrival() -> None:
    assert order(Turns(), Asker("a"), Asker("a"), Asker("a")) == [0, 1, 2]


def test_who_floods_the_queue_waits_behind_themselves_and_not_before_others() -> None:
    flood = [Asker("flood")] * 5
    assert order(Turns(), *flood, Asker("ann"), Asker("bob"), Asker("ann")) == [0, 5, 6, 1, 7, 2, 3, 4]


def test_rounds_go_on_while_some_are_served() -> None:
    turns = Turns()
    first = [turns.join(Asker("flood")) for _ in range(4)]
    assert [turns.next(), turns.next()] == first[:2]
    ann = turns.join(Asker("ann"))
    again = turns.join(Asker("ann"))
    assert list(iter(turns.next, None)) == [ann, first[2], again, first[3]]


def test_logins_go_before_everything_else() -> None:
    assert order(Turns(), Asker("a", urgency=Urgency.OTHER), Asker("a"), Asker("b")) == [1, 2, 0]


def test_what_is_ahead_is_counted_by_the_order_in_which_turns_come() -> None:
    turns = Turns()
    for _ in range(10):
        turns.join(Asker("flood"))
    assert turns.ahead_of(Asker("flood")) == 10
    assert turns.ahead_of(Asker("ann")) == 1
    assert turns.ahead_of(Asker("ann", urgency=Urgency.OTHER)) == 10


def test_who_leaves_has_no_turn() -> None:
    turns = Turns()
    one, other = turns.join(Asker("a")), turns.join(Asker("b"))
    turns.leave(one)
    assert list(iter(turns.next, None)) == [other]


def test_clients_of_earlier_rounds_are_not_remembered() -> None:
    turns = Turns()
    for number in range(1000):
        turns.join(Asker(number))
        turns.join(Asker("one"))
        turns.next()
        turns.next()
        turns.join(Asker("one"))
    assert len(turns._last) < 10


def test_a_flood_of_one_client_does_not_keep_another_out() -> None:
    async def ask() -> tuple[object, int]:
        admission = Admission(1, 0.3)
        await admission.run(lambda: time.sleep(0.02), Asker("flood"))
        flood = [asyncio.create_task(admission.run(lambda: time.sleep(0.02), Asker("flood"))) for _ in range(60)]
        await asyncio.sleep(0)
        ann = await admission.run(lambda: "ann", Asker("ann"))
        results = await asyncio.gather(*flood, return_exceptions=True)
        return ann, sum(isinstance(result, OverloadedError) for result in results)

    ann, refused = asyncio.run(ask())
    assert ann == "ann"
    assert refused > 30


def test_work_of_a_client_who_has_left_is_not_done() -> None:
    done: list[int] = []

    async def ask() -> None:
        gate, admission = threading.Event(), Admission(1, 5)
        first = asyncio.create_task(admission.run(gate.wait))
        left = asyncio.create_task(admission.run(lambda: done.append(1), Asker("ann", is_disconnected=lambda: True)))
        stays = asyncio.create_task(admission.run(lambda: done.append(2), Asker("ann")))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, stays)
        with pytest.raises(OverloadedError):
            await left

    asyncio.run(ask())
    assert done == [2]


@pytest.mark.parametrize("moment", ["waiting", "called", "running"])
def test_a_cancelled_one_leaves_its_place_to_the_next(moment: str) -> None:
    async def ask() -> str:
        gate, admission = threading.Event(), Admission(1, 5)
        first = asyncio.create_task(admission.run(gate.wait))
        second = asyncio.create_task(admission.run(lambda: None))
        third = asyncio.create_task(admission.run(lambda: "third"))
        await asyncio.sleep(0)
        victim = first if moment == "running" else second
        if moment == "called":
            await asyncio.sleep(0.01)
            admission._signals[min(admission._signals)].add_done_callback(lambda _: second.cancel())
        else:
            victim.cancel()
        gate.set()
        result = await third
        await asyncio.gather(first, second, return_exceptions=True)
        await asyncio.sleep(0)
        assert (admission._running, len(admission._turns)) == (0, 0)
        return result

    assert asyncio.run(ask()) == "third"


def test_hashes_that_do_not_fit_into_memory_stop_the_start() -> None:
    check_memory(4, 19 << 20, 256 << 20)
    with pytest.raises(CapacityError, match="16 password hashes at once need 400 MiB"):
        check_memory(16, 19 << 20, 256 << 20)


def test_some_memory_is_usable() -> None:
    assert usable_memory() > 64 << 20
