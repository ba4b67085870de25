"""Work that is prepared at the same time and done in the order in which it was begun."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Line"]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Place(Generic[T]):
    act: Callable[[], T]
    outcome: "asyncio.Future[T]"
    ready: bool = False


class Line(Generic[T]):
    """Each place in it has something to do, once it and all places before it are ready."""

    def __init__(self) -> None:
        self._places: deque[_Place[T]] = deque()

    def __bool__(self) -> bool:
        """Whether anyone stands in it."""
        return bool(self._places)

    async def take(self, act: Callable[[], T], prepared: Awaitable[None] | None = None) -> T:
        """Stand in line, get ready meanwhile, and act in turn. Whoever fails or gives up before leaves the line.

        All whose turn has come act at once: what they ask of a store then goes to it in one call.
        """
        place: _Place[T] = _Place(act, asyncio.get_running_loop().create_future())
        self._places.append(place)
        try:
            if prepared:
                await prepared
        except BaseException:
            place.outcome.cancel()
            raise
        finally:
            place.ready = True
            self._advance()
        return await place.outcome

    def _advance(self) -> None:
        while self._places and self._places[0].ready:
            place = self._places.popleft()
            if place.outcome.done():
                continue
            try:
                place.outcome.set_result(place.act())
            except Exception as error:  # noqa: BLE001 - told to who stood there
                place.outcome.set_exception(error)
