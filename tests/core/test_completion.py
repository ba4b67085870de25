"""Work that comes to its end."""

import asyncio
import gc

import pytest

from pixied_server.core.completion import completed


async def test_what_it_gives_is_passed_on() -> None:
    """A result is returned, an error raised."""

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return 10 // number

    assert await completed(work(5)) == 2
    with pytest.raises(ZeroDivisionError):
        await completed(work(0))


async def test_it_is_done_though_its_caller_is_cancelled() -> None:
    """However often; and the caller is cancelled then."""
    may_end, done = asyncio.Event(), []

    async def work() -> None:
        await may_end.wait()
        done.append(True)
        raise ValueError

    caller = asyncio.create_task(completed(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [True]


async def test_a_failure_of_work_whose_caller_is_gone_is_seen() -> None:
    """The event loop raises no alarm because of a failure that nobody can be told of."""
    alarms: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: alarms.append(context))
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        raise ValueError

    caller = asyncio.create_task(completed(work()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    del caller
    await asyncio.sleep(0)
    gc.collect()
    assert alarms == []
