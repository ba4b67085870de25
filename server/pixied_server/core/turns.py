"""Turns: long work stands back for others after 2 ms, however few things it has done by then."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Generic, Self, TypeVar

from pixied_server.core.completion import completed

__all__ = ["Turns", "caller"]

T = TypeVar("T")
R = TypeVar("R")

caller: ContextVar[str] = ContextVar("caller", default="")
"""The connection that the current task works for; "" for what pixied does of its own accord."""


class Turns:
    """Shares out the event loop among long pieces of work. A process has one.

    Work in proportion to what callers choose asks between its items whether its turn is over, and then waits. All that
    runs without having waited takes `length` together in each pass of the loop, and one of those who wait goes on in
    each, for as long again. So a pass takes some 2 x `length` and an item, however many are at work; and what is small
    asks nothing, and waits for one pass at a time.

    Those who wait go on by caller, in a circle: who has begun a thousand things gets no more turns than who has begun
    one. pixied's own work, such as ending sessions in time, gets every other turn.

    Args:
        clock: tells the time, in seconds.
        length: of a turn, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, length: float = 0.002) -> None:
        self.now = clock
        self._length = length
        # Whether the next pass of the loop is noticed; until then a turn ends at `_ends`.
        self._under_way = False
        self._ends = 0.0
        self._own: deque[asyncio.Future[None]] = deque()
        self._others: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._own_went_on = False
        self._walks: dict[str, _Walk] = {}

    @property
    def over(self) -> bool:
        """Whether to wait before the next item."""
        if self._under_way:
            return self.now() >= self._ends
        self._ends = self.now() + self._length
        self._notice_next_pass()
        return False

    async def give(self) -> None:
        """Give others a turn if this one is over."""
        if self.over:
            waiter = asyncio.get_running_loop().create_future()
            self._queue_of(caller.get()).append(waiter)
            await waiter
            self._ends = self.now() + self._length

    def through(self, items: Iterable[T]) -> "_Through[T]":
        """Iterate over items with `async for`; others get a turn between two of them."""
        return _Through(self, items)

    async def each(self, items: Iterable[T], do: Callable[[T], R]) -> list[R]:
        """Do something with each item, with all of them although the caller is cancelled meanwhile.

        Others get a turn between two items, so they may see what was done with the first of them and not with the rest.

        Raises:
            Exception: what `do` has raised; the items after that one are left.
        """
        outcomes: list[R] = []
        left = iter(items)
        for item in left:
            outcomes.append(do(item))
            if self.over:
                await completed(self._rest(left, do, outcomes))
        return outcomes

    async def _rest(self, items: Iterable[T], do: Callable[[T], R], outcomes: list[R]) -> None:
        for item in items:
            if self.over:
                await self.give()
            outcomes.append(do(item))

    @asynccontextmanager
    async def walk(self) -> AsyncIterator[None]:
        """Let a caller look at all that there is of something. It has one walk at a time, its others wait."""
        name = caller.get()
        walk = self._walks.setdefault(name, _Walk())
        walk.callers += 1
        try:
            async with walk.lock:
                await self.give()
                yield
        finally:
            walk.callers -= 1
            if not walk.callers:
                del self._walks[name]

    def _queue_of(self, name: str) -> deque[asyncio.Future[None]]:
        return self._others.setdefault(name, deque()) if name else self._own

    def _notice_next_pass(self) -> None:
        self._under_way = True
        asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        """Everybody else was served: let one of those who wait go on."""
        self._under_way = False
        if (waiter := self._next()) is not None:
            waiter.set_result(None)
            # Until it runs, nobody takes its turn.
            self._ends = 0.0
            self._notice_next_pass()

    def _next(self) -> asyncio.Future[None] | None:
        while self._own or self._others:
            self._own_went_on = bool(self._own) and not (self._own_went_on and self._others)
            waiter = self._own.popleft() if self._own_went_on else self._next_other()
            if not waiter.done():  # it was not cancelled
                return waiter
        return None

    def _next_other(self) -> asyncio.Future[None]:
        name, waiters = self._others.popitem(last=False)
        waiter = waiters.popleft()
        if waiters:
            self._others[name] = waiters
        return waiter


class _Walk:
    """A caller's walks: one is under way."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.callers = 0


class _Through(Generic[T]):
    """See `Turns.through`. No generator: one that is left before its end would wait for the garbage collector."""

    def __init__(self, turns: Turns, items: Iterable[T]) -> None:
        self._turns = turns
        self._items: Iterator[T] = iter(items)
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            item = next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None
        if self._begun:
            await self._turns.give()
        self._begun = True
        return item
