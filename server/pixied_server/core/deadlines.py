"""Deadlines: what is due, without looking at what is not."""

from collections.abc import Callable, Hashable, Iterator
from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T", bound=Hashable)

# Things that fall due within the same 10 ms share a place in the heap: 8 bytes for each instead of 130.
_GRAIN = 0.01


class Deadlines(Generic[T]):
    """A heap of due times. Never gives a thing before its time, and at most 10 ms after.

    There is no way to move a thing: whoever gets it looks whether it is still due, and puts it back if not. So to
    prolong a session costs nothing here.
    """

    def __init__(self) -> None:
        # Some of the heap's places may be empty: nothing falls due then any more.
        self._heap: list[int] = []
        self._due: dict[int, list[T]] = {}
        self._count = 0
        # While things are forgotten: the heap as it will be.
        self._new_heap: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def put(self, thing: T, deadline: float) -> None:
        """Give the thing back once `deadline`, in seconds, has come."""
        grain = ceil(deadline / _GRAIN)
        # The division may have rounded down a hair.
        grain += grain * _GRAIN < deadline
        self._count += 1
        things = self._due.get(grain)
        if things is None:
            self._due[grain] = [thing]
            heappush(self._heap, grain)
            if self._new_heap is not None:
                heappush(self._new_heap, grain)
        else:
            things.append(thing)

    def next(self) -> float | None:
        """When to look again, in seconds; None if there is nothing."""
        while self._heap and self._heap[0] not in self._due:
            heappop(self._heap)
        return self._heap[0] * _GRAIN if self._heap else None

    def pop(self, now: float, most: int) -> list[T]:
        """What is due, at most so many things; the others stay, and are due."""
        due: list[T] = []
        while len(due) < most and (first := self.next()) is not None and first <= now:
            grain = self._heap[0]
            things = self._due[grain]
            room = most - len(due)
            due += things[-room:]
            del things[-room:]
            if not things:
                del self._due[grain]
        self._count -= len(due)
        return due

    def keep(self, wanted: Callable[[T], bool]) -> Iterator[None]:
        """Forget everything else, looking at one thing in each step; until the last one some of it is still there.

        Things may be put and taken between the steps. To begin again forgets what was begun before.
        """
        self._new_heap = []
        for grain in self._heap.copy():
            index = len(self._due.get(grain, ()))
            # Backwards, and what is forgotten gives its place to the last one, which has been looked at.
            while (index := min(index, len(things := self._due.get(grain, []))) - 1) >= 0:
                if not wanted(things[index]):
                    things[index] = things[-1]
                    things.pop()
                    self._count -= 1
                    if not things:
                        del self._due[grain]
                yield
            if grain in self._due:
                heappush(self._new_heap, grain)
            yield
        self._heap, self._new_heap = self._new_heap, None
