"""Watchers: which events each one sees, and how one that is too slow misses some.

Whoever causes an event only puts it where all watchers find it. Each watcher looks at it in a turn of its own, and
keeps it if it is wanted.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pixied_server.core.channels import meets
from pixied_server.core.turns import Turns
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


class Shown:
    """An event that all watchers are shown.

    Attributes:
        event: the event.
        encoded: the encoded event; set by the first sender.
    """

    __slots__ = ("encoded", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.encoded: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """Events, and how many the watcher missed just before them."""

    shown: list[Shown]
    missed: int

    @property
    def events(self) -> list[Event]:
        """The events themselves."""
        return [one.event for one in self.shown]


class Watcher:
    """One watcher's events, waiting to be taken.

    Args:
        wanted: the events that it wants.
        room: how many may wait; further ones are missed, and counted.
        recent: the events that all watchers are shown.
        turns: tells when others are to go on.
    """

    def __init__(self, wanted: Filter, room: int, recent: "_Recent", turns: Turns) -> None:
        self._wanted = wanted
        self._room = room
        self._recent = recent
        self._turns = turns
        self._seen = recent.count
        self._waiting: deque[Shown] = deque()
        self._missed = 0
        self._missed_before = 0
        self._news = asyncio.Event()

    async def keep_up(self) -> None:
        """Look at events as they come, until cancelled: also while nobody takes any."""
        while True:
            await self._recent.news(self._seen)
            await self._turns.give()
            await self._look()

    async def wait(self) -> None:
        """Wait until `keep_up` has found something to take, or someone wakes it."""
        await self._news.wait()

    def wake(self) -> None:
        """Let it wait no longer, though there may be nothing to take."""
        self._news.set()

    async def take(self, most: int) -> Sighting:
        """Take at most so many of the events that there were until now."""
        await self._look()
        shown = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        sighting = Sighting(shown, self._missed_before)
        self._missed_before = 0
        if not self._waiting:
            # Missed events came after all that waited, so their count belongs to the next ones.
            self._missed_before, self._missed = self._missed, 0
            if not self._missed_before:
                self._news.clear()
        return sighting

    async def _look(self) -> None:
        """Look at the events that it has not seen."""
        while self._seen < self._recent.count:
            self._miss(self._recent.oldest - self._seen)
            self._see(self._recent[self._seen])
            self._seen += 1
            if self._turns.over:
                await self._turns.give()

    def _miss(self, count: int) -> None:
        """Some are gone that it had no turn to look at: they count as missed, whether they were wanted or not."""
        if count <= 0:
            return
        self._seen += count
        if self._waiting:
            self._missed += count
        else:
            self._missed_before += count
        self._news.set()

    def _see(self, one: Shown) -> None:
        if not self._wanted.passes(one.event):
            return
        if self._missed or len(self._waiting) >= self._room:
            self._missed += 1
        else:
            self._waiting.append(one)
        self._news.set()


# So many events are kept for watchers that had no turn yet.
_RECENT = 10_000


class _Recent:
    """The last events, each under its number.

    Attributes:
        count: how many there have been: the number of the next one.
    """

    def __init__(self) -> None:
        self.count = 0
        self._events: deque[Shown] = deque(maxlen=_RECENT)
        self._news = asyncio.Event()
        self._waking = False

    def __getitem__(self, number: int) -> Shown:
        return self._events[number - self.count]

    @property
    def oldest(self) -> int:
        """The number of the oldest one."""
        return self.count - len(self._events)

    def add(self, event: Event) -> None:
        """Add an event. Whoever waits is woken later: there may be thousands."""
        self._events.append(Shown(event))
        self.count += 1
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def clear(self) -> None:
        """Keep none: nobody watches."""
        self._events.clear()

    async def news(self, seen: int) -> None:
        """Wait for events beyond a number."""
        while self.count == seen:
            await self._news.wait()

    def _wake(self) -> None:
        self._waking = False
        self._news.set()
        self._news.clear()


class Watchers:
    """All watchers.

    Args:
        room: how many events may wait for one.
        turns: those of the process; None for turns of their own.

    Attributes:
        wanted: the kinds of events that they watch for.
    """

    def __init__(self, room: int, turns: Turns | None = None) -> None:
        self.wanted: frozenset[EventKind] = frozenset()
        self._room = room
        self._turns = turns or Turns()
        self._recent = _Recent()
        self._watchers: dict[Watcher, Filter] = {}

    def happened(self, event: Event) -> None:
        """Show an event to all watchers, each in a turn of its own."""
        if self._watchers:
            self._recent.add(event)

    @contextmanager
    def watching(self, wanted: Filter) -> Iterator[Watcher]:
        """Add a watcher, as long as the context lasts."""
        watcher = Watcher(wanted, self._room, self._recent, self._turns)
        self._watchers[watcher] = wanted
        self._look_around()
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            self._look_around()
            if not self._watchers:
                self._recent.clear()

    def _look_around(self) -> None:
        self.wanted = frozenset(kind for wanted in self._watchers.values() for kind in wanted.kinds or EventKind)
