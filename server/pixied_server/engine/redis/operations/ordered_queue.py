"""Work that is prepared at the same time and done in the order in which it was begun."""

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
    """Each piece of work is done once it and all before it are ready."""

    def __init__(self) -> None:
        self._waiting: deque[_Work[T]] = deque()

    def __bool__(self) -> bool:
        """Whether any work waits."""
        return bool(self._waiting)

    async def do(self, act: Callable[[], T], prepared: Awaitable[None] | None = None) -> T:
        """Do work once it is prepared and all before it are done. Work that fails before that leaves the queue.

        All whose turn has come act at once: what they ask of a store then goes to it in one call.
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
