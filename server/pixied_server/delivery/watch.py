"""Watchers: which events each one sees, and how one that is too slow misses some."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pixied_server.core.channels import meets
from pixied_server.engine.abc import Event, EventKind

__all__ = ["Filter", "Sighting", "Watcher", "Watchers"]


@dataclass(frozen=True, slots=True)
class Filter:
    """The events that a watcher wants: they match all criteria that are set.

    Attributes:
        kinds: these kinds; empty for all.
        pattern: events whose channel meets it; "" for all.
        client_id: events about this client; "" for all.
    """

    kinds: frozenset[EventKind] = frozenset()
    pattern: str = ""
    client_id: str = ""

    def passes(self, event: Event) -> bool:
        """Return whether the event is wanted."""
        return (
            (not self.kinds or event.kind in self.kinds)
            and (not self.client_id or event.client_id == self.client_id)
            and (not self.pattern or (event.channel != "" and meets(event.channel, self.pattern)))
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """Events, and how many the watcher missed just before them."""

    events: list[Event]
    missed: int


class Watcher:
    """One watcher's events, waiting to be taken.

    Args:
        wanted: the events that it wants.
        room: how many may wait; further ones are missed, and counted.
    """

    def __init__(self, wanted: Filter, room: int) -> None:
        self._wanted = wanted
        self._room = room
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._missed_before = 0
        self._news = asyncio.Event()

    def see(self, event: Event) -> None:
        """Show it an event."""
        if not self._wanted.passes(event):
            return
        if self._missed or len(self._waiting) >= self._room:
            self._missed += 1
        else:
            self._waiting.append(event)
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._news.wait()

    def take(self, most: int) -> Sighting:
        """Take at most so many events."""
        events = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        sighting = Sighting(events, self._missed_before)
        self._missed_before = 0
        if not self._waiting:
            # Missed events came after all that waited, so their count belongs to the next ones.
            self._missed_before, self._missed = self._missed, 0
            if not self._missed_before:
                self._news.clear()
        return sighting


class Watchers:
    """All watchers.

    Args:
        room: how many events may wait for one.

    Attributes:
        wanted: the kinds of events that they watch for.
    """

    def __init__(self, room: int) -> None:
        self.wanted: frozenset[EventKind] = frozenset()
        self._room = room
        self._watchers: dict[Watcher, Filter] = {}

    def happened(self, event: Event) -> None:
        """Show an event to all watchers."""
        for watcher in self._watchers:
            watcher.see(event)

    @contextmanager
    def watching(self, wanted: Filter) -> Iterator[Watcher]:
        """Add a watcher, as long as the context lasts."""
        watcher = Watcher(wanted, self._room)
        self._watchers[watcher] = wanted
        self._look_around()
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            self._look_around()

    def _look_around(self) -> None:
        self.wanted = frozenset(kind for wanted in self._watchers.values() for kind in wanted.kinds or EventKind)
