"""The queue serves in order of arrival, through releases, cancellations and timeouts."""

import asyncio
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from issuer.db.connection_queue import ConnectionQueue, QueueFullError

STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "cancel", "late", "again", "run"]), st.integers(0, 9)))


class Model:
    """The queue compared with a list of numbers; callers are numbered in the order of their arrival."""

    def __init__(self, slots: int, capacity: int) -> None:
        self.queue = ConnectionQueue(slots, capacity)
        self.slots, self.capacity = slots, capacity
        self.served: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.expected: list[int] = []
        self.holding: deque[int] = deque()
        self.waiting: deque[int] = deque()

    async def enter(self) -> None:
        number = len(self.tasks)

        async def wait() -> None:
            await self.queue.enter()
            self.served.append(number)

        self.tasks[number] = asyncio.create_task(wait())
        await settle()
        if len(self.holding) < self.slots and not self.waiting:
            self.serve(number)
        elif len(self.waiting) < self.capacity:
            self.waiting.append(number)
        else:
            assert isinstance(self.tasks[number].exception(), QueueFullError)

    def leave(self) -> None:
        """Release a slot; the first waiter has it, although it has not run yet."""
        if self.holding:
            self.holding.popleft()
            self.queue.leave()
            if self.waiting:
                self.serve(self.waiting.popleft())

    async def again(self) -> None:
        """Release a slot and request one at once: waiting callers come first."""
        self.leave()
        await self.enter()

    async def cancel(self, place: int) -> None:
        if self.waiting:
            number = self.waiting[place % len(self.waiting)]
            self.waiting.remove(number)
            self.tasks[number].cancel()
            await settle()

    async def late(self) -> None:
        """Cancel a caller that has just received a slot: the next one gets it."""
        if self.waiting and self.holding:
            number = self.waiting.popleft()
            self.holding.popleft()
            self.queue.leave()
            self.tasks[number].cancel()
            await settle()
            if self.waiting:
                self.serve(self.waiting.popleft())

    def serve(self, number: int) -> None:
        self.holding.append(number)
        self.expected.append(number)

    async def check(self) -> None:
        await settle()
        assert self.served == self.expected
        assert self.queue.waiting == len(self.waiting) <= self.capacity


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(slots=st.integers(1, 3), capacity=st.integers(0, 5), steps=STEPS)
def test_the_queue_serves_in_the_order_of_arrival(slots: int, capacity: int, steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        model = Model(slots, capacity)
        for step, argument in steps:
            match step:
                case "enter":
                    await model.enter()
                case "leave":
                    model.leave()
                case "again":
                    await model.again()
                case "cancel":
                    await settle()
                    await model.cancel(argument)
                case "late":
                    await settle()
                    await model.late()
                case _:
                    await model.check()
        await model.check()
        while model.holding:
            model.leave()
        await model.check()
        for _ in range(slots):  # none was lost
            await asyncio.wait_for(model.queue.enter(), 1)

    asyncio.run(run())
