"""Work that is prepared concurrently and done in the order of the calls."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["OrderedQueue"]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Work(Generic[T]):
    act: Callable[[], T]
    outcome: "asyncio.Future[T]"
    ready: bool = False


class OrderedQueue(Generic[T]):
    """Does each piece of work when this one and all earlier ones are prepared."""

    def __init__(self) -> None:
        self._waiting: deque[_Work[T]] = deque()

    def __bool__(self) -> bool:
        """Whether any work waits."""
        return bool(self._waiting)

    async def do(self, act: Callable[[], T], prepared: Awaitable[None] | None = None) -> T:
        """Do work once it is prepared and all earlier work is done. Work whose preparation fails leaves the queue.

        All work whose turn has come is done at once, so its requests go to the store in one call.
        """
        work: _Work[T] = _Work(act, asyncio.get_running_loop().create_future())
        self._waiting.append(work)
        try:
            if prepared:
                await prepared
        except BaseException:
            work.outcome.cancel()
            raise
        finally:
            work.ready = True
            self._advance()
        return await work.outcome

    def _advance(self) -> None:
        while self._waiting and self._waiting[0].ready:
            work = self._waiting.popleft()
            if work.outcome.done():
                continue
            try:
                work.outcome.set_result(work.act())
            except Exception as error:  # noqa: BLE001 - for who waits
                work.outcome.set_exception(error)
