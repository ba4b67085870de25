"""Deadlines: what is due, without looking at what is not."""

from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
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
        self._heap: list[int] = []
        self._due: dict[int, list[T]] = {}
        self._count = 0

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
        else:
            things.append(thing)

    def next(self) -> float | None:
        """When to look again, in seconds; None if there is nothing."""
        return self._heap[0] * _GRAIN if self._heap else None

    def pop(self, now: float, most: int) -> list[T]:
        """What is due, at most so many things; the others stay, and are due."""
        due: list[T] = []
        while len(due) < most and self._heap and self._heap[0] * _GRAIN <= now:
            things = self._due[self._heap[0]]
            room = most - len(due)
            due += things[-room:]
            del things[-room:]
            if not things:
                del self._due[heappop(self._heap)]
        self._count -= len(due)
        return due

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Forget everything else. Looks at every thing."""
        kept = ((grain, [thing for thing in things if wanted(thing)]) for grain, things in self._due.items())
        self._due = {grain: things for grain, things in kept if things}
        self._count = sum(map(len, self._due.values()))
        self._heap = list(self._due)
        heapify(self._heap)
