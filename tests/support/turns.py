"""Turns whose time passes by the things that are done, and who looks on how many were done in one pass of the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pixied_server.core.turns import Turns

__all__ = ["Onlooker", "StepClock", "at_once", "endless", "looking_on", "stepping", "until"]

T = TypeVar("T")


class StepClock:
    """A clock that goes on by so much, in seconds, each time that it is asked."""

    def __init__(self, step: float) -> None:
        self.now = 1_000.0
        self.step = step

    def __call__(self) -> float:
        """Tell the time."""
        self.now += self.step
        return self.now


def endless() -> Turns:
    """A turn that is never over, however busy the machine is."""
    return Turns(lambda: 0.0)


def stepping(looks: float = 4) -> Turns:
    """Turns that are over after so many looks at the clock, which work takes once for each item."""
    return Turns(StepClock(1.0), looks)


class Onlooker:
    """Somebody else in the loop: has a go in each pass of it.

    Attributes:
        gone: how often it had a go.
        most: by how much `done` grew at most from one go to the next.
    """

    def __init__(self, done: Callable[[], int]) -> None:
        self.gone = 0
        self.most = 0
        self._done = done

    async def look_on(self) -> None:
        """Look until cancelled."""
        before = self._done()
        while True:
            await asyncio.sleep(0)
            self.gone += 1
            now = self._done()
            self.most = max(self.most, now - before)
            before = now


@asynccontextmanager
async def looking_on(done: Callable[[], int] = lambda: 0) -> AsyncIterator[Onlooker]:
    """Look on as long as the context lasts.

    Args:
        done: tells how many things were done so far.
    """
    onlooker = Onlooker(done)
    task = asyncio.create_task(onlooker.look_on())
    await asyncio.sleep(0)
    try:
        yield onlooker
    finally:
        # What was done last is seen too.
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Do what waits for nothing, outside of the loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there are many conditions, and each is looked at once in a pass
            await asyncio.sleep(0)
