"""The queue of password hashes: bounded and fair."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterable

import pytest
import structlog

from issuer.errors import OverloadedError
from issuer.passwords.hash_queue import FairQueue, PasswordHashQueue, Priority, QueueClient

pytestmark = pytest.mark.anyio


async def test_work_runs_in_a_thread() -> None:
    assert await PasswordHashQueue(1, 1).run(threading.current_thread) is not threading.main_thread()


async def test_log_lines_of_a_thread_have_the_request_id() -> None:
    queue = PasswordHashQueue(1, 1)

    async def ask(request_id: str) -> object:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return (await queue.run(structlog.contextvars.get_contextvars))["request_id"]

    request_ids = ["request 0", "request 1", "request 2"]
    assert await asyncio.gather(*map(ask, request_ids)) == request_ids


async def test_an_error_is_raised_to_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await PasswordHashQueue(1, 1).run(lambda: 1 // 0)


async def test_concurrency_is_bounded() -> None:
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

    queue = PasswordHashQueue(2, 10)
    await asyncio.gather(*(queue.run(work) for _ in range(12)))
    assert most == 2


async def test_work_that_waited_too_long_is_rejected_and_not_run() -> None:
    rejections, done = [], []
    gate = threading.Event()
    queue = PasswordHashQueue(1, 0.05, rejected=lambda: rejections.append(1))
    first = asyncio.create_task(queue.run(lambda: gate.wait(5)))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as error:
        await queue.run(lambda: done.append(1))
    gate.set()
    await first
    assert 1 <= error.value.retry_after <= 3
    assert (len(rejections), done) == (1, [])


async def rejected(work: Iterable[Awaitable[object]]) -> int:
    """Wait for all work; return how much of it was rejected."""
    results = await asyncio.gather(*work, return_exceptions=True)
    return sum(isinstance(result, OverloadedError) for result in results)


async def test_the_first_burst_is_bounded_after_a_calibration() -> None:
    queue = PasswordHashQueue(1, 0.1)
    assert await queue.calibrate(lambda: time.sleep(0.05)) >= 0.05
    assert await rejected(queue.run(lambda: time.sleep(0.05)) for _ in range(50)) >= 47


async def test_work_that_would_wait_too_long_is_rejected_at_once() -> None:
    queue = PasswordHashQueue(1, 0.1)
    for _ in range(60):
        await queue.run(lambda: time.sleep(0.02))
    assert 40 <= await rejected(queue.run(lambda: time.sleep(0.02)) for _ in range(50)) < 50


async def test_after_an_overload_work_is_admitted_again() -> None:
    queue = PasswordHashQueue(1, 0.05)
    assert await rejected(queue.run(lambda: time.sleep(0.02)) for _ in range(20)) > 0
    assert await queue.run(lambda: "again") == "again"


def order(queue: FairQueue, *clients: QueueClient) -> list[int]:
    """Return the positions of `clients` in the order in which they are served."""
    tickets = [queue.join(client) for client in clients]
    return [tickets.index(ticket) for ticket in iter(queue.next, None)]


def test_one_client_is_served_in_order_of_arrival() -> None:
    assert order(FairQueue(), QueueClient("a"), QueueClient("a"), QueueClient("a")) == [0, 1, 2]


def test_a_flooding_client_does_not_delay_others() -> None:
    flood = [QueueClient("flood")] * 5
    others = [QueueClient("ann"), QueueClient("bob"), QueueClient("ann")]
    assert order(FairQueue(), *flood, *others) == [0, 5, 6, 1, 7, 2, 3, 4]


def test_rounds_continue_while_clients_join() -> None:
    queue = FairQueue()
    first = [queue.join(QueueClient("flood")) for _ in range(4)]
    assert [queue.next(), queue.next()] == first[:2]
    ann = queue.join(QueueClient("ann"))
    again = queue.join(QueueClient("ann"))
    assert list(iter(queue.next, None)) == [ann, first[2], again, first[3]]


def test_logins_come_first() -> None:
    other = QueueClient("a", priority=Priority.OTHER)
    assert order(FairQueue(), other, QueueClient("a"), QueueClient("b")) == [1, 2, 0]


def test_ahead_of_counts_entries_served_earlier() -> None:
    queue = FairQueue()
    for _ in range(10):
        queue.join(QueueClient("flood"))
    assert queue.ahead_of(QueueClient("flood")) == 10
    assert queue.ahead_of(QueueClient("ann")) == 1
    assert queue.ahead_of(QueueClient("ann", priority=Priority.OTHER)) == 10


def test_a_cancelled_entry_is_not_served() -> None:
    queue = FairQueue()
    one, other = queue.join(QueueClient("a")), queue.join(QueueClient("b"))
    queue.leave(one)
    assert list(iter(queue.next, None)) == [other]


def test_clients_without_entries_use_no_memory() -> None:
    queue = FairQueue()
    for number in range(1000):
        queue.join(QueueClient(number))
        queue.join(QueueClient("one"))
        queue.next()
        queue.next()
        queue.join(QueueClient("one"))
    assert len(queue._last_round) < 10


async def test_a_flooding_client_is_rejected_alone() -> None:
    queue = PasswordHashQueue(1, 1)
    await queue.run(lambda: time.sleep(0.05), QueueClient("flood"))
    flood = [asyncio.create_task(queue.run(lambda: time.sleep(0.05), QueueClient("flood"))) for _ in range(60)]
    await asyncio.sleep(0)
    assert await queue.run(lambda: "ann", QueueClient("ann")) == "ann"
    assert await rejected(flood) > 30


async def test_work_of_a_disconnected_client_is_not_run() -> None:
    done: list[int] = []
    gate, queue = threading.Event(), PasswordHashQueue(1, 5)
    first = asyncio.create_task(queue.run(gate.wait))
    left = asyncio.create_task(queue.run(lambda: done.append(1), QueueClient("ann", is_disconnected=lambda: True)))
    stays = asyncio.create_task(queue.run(lambda: done.append(2), QueueClient("ann")))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, stays)
    with pytest.raises(OverloadedError):
        await left
    assert done == [2]


@pytest.mark.parametrize("moment", ["waiting", "called", "running"])
async def test_cancelled_work_frees_its_slot(moment: str) -> None:
    gate, queue = threading.Event(), PasswordHashQueue(1, 5)
    first = asyncio.create_task(queue.run(gate.wait))
    second = asyncio.create_task(queue.run(lambda: None))
    third = asyncio.create_task(queue.run(lambda: "third"))
    await asyncio.sleep(0)
    victim = first if moment == "running" else second
    if moment == "called":
        await asyncio.sleep(0.01)
        queue._signals[min(queue._signals)].add_done_callback(lambda _: second.cancel())
    else:
        victim.cancel()
    gate.set()
    assert await third == "third"
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0)
    assert (queue._running, queue._queue.next()) == (0, None)
