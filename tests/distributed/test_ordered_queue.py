"""Work in the order of the calls."""

import asyncio

import pytest

from pixied_server.engine.redis.operations.ordered_queue import OrderedQueue


async def test_work_is_done_in_the_order_of_the_calls() -> None:
    """However long each takes to be prepared; what waits for nothing waits for those before it."""
    queue: OrderedQueue[int] = OrderedQueue()
    done: list[int] = []
    prepared = [asyncio.get_running_loop().create_future() for _ in range(3)]

    def work(number: int) -> int:
        done.append(number)
        return number

    tasks = [
        asyncio.create_task(queue.do(lambda number=number: work(number), ready))  # type: ignore[misc]
        for number, ready in enumerate([*prepared, None])
    ]
    assert not queue
    await asyncio.sleep(0)
    assert queue
    for number in (2, 1):
        prepared[number].set_result(None)
        await asyncio.sleep(0.01)
        assert done == []
    prepared[0].set_result(None)
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
    assert done == [0, 1, 2, 3]
    assert not queue


async def test_work_that_fails_is_its_callers_alone() -> None:
    """Whether its preparation fails, it is given up, or it fails itself: what comes after it is done."""
    queue: OrderedQueue[str] = OrderedQueue()
    first = asyncio.get_running_loop().create_future()
    failing, given_up, wrong, last = [
        asyncio.create_task(one)
        for one in (
            queue.do(lambda: "never", first),
            queue.do(lambda: "never", asyncio.sleep(60)),
            queue.do(lambda: {}["nothing"]),
            queue.do(lambda: "done"),
        )
    ]
    await asyncio.sleep(0)
    given_up.cancel()
    first.set_exception(RuntimeError("it can't be prepared"))
    outcomes = await asyncio.gather(failing, given_up, wrong, last, return_exceptions=True)
    assert [type(one) for one in outcomes] == [RuntimeError, asyncio.CancelledError, KeyError, str]
    assert not queue
    with pytest.raises(KeyError):
        await queue.do(lambda: {}["nothing"])
